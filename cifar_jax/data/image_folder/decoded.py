"""Decoded images on disk: one file of uint8 pixels that later epochs and runs map into memory.

An entry of the cache belongs to a list of files with their sizes and times and to the way they are
resized; if any of it changes, another entry is made.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import math
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from tqdm import tqdm

from cifar_jax.data.image_file import THUMBNAIL, DamagedImageError, Decoded, decode_file
from cifar_jax.data.image_folder.duplicates import exact_pairs, near_pairs
from cifar_jax.data.image_folder.listing import ImageFile, Listing
from cifar_jax.data.preprocessing import Preprocessing
from cifar_jax.data.statistics import DIGEST_BYTES, digests
from cifar_jax.utils.cache import CacheEntry
from cifar_jax.utils.files import nearest_folder
from cifar_jax.utils.paths import cache_folder

Pairs = list[tuple[int, int]]

_FORMAT = 2  # Raise it whenever decoding gives other pixels for the same files.
_DAMAGED_LIST = 'damaged.txt'
_DIGESTS = 'pixel_digests.npy'
_PAIRS = 'equal-pixels'  # begins the names of files with the indices of equal images
_WAITING = 4  # images decoded ahead of the writer, for each thread


@dataclasses.dataclass(frozen=True)
class DecodedFolder:
  """All images of a folder that can be decoded.

  Attributes:
    images: The images, uint8 [N, H, W, C], mapped read-only from disk, in the order of the listing.
    kept: Their indices in the listing, int64 [N].
    digests: Checksums of their pixels, uint8 [N, 16], as `statistics.digests` makes them.
    thumbnails: Gray reductions of them, uint8 [N, 9, 9].
    damaged: The path and what is wrong, of each of the other files.
    damaged_list: A text file with all of those.
  """

  images: np.ndarray
  kept: np.ndarray
  digests: np.ndarray
  thumbnails: np.ndarray
  damaged: tuple[tuple[str, str], ...]
  damaged_list: pathlib.Path

  def pairs(self, first: slice, second: slice) -> tuple[Pairs, Pairs]:
    """Indices (i, j) of equal pixels in two parts of the images, and of others that look the same.

    They are kept with the decoded images: to compare tens of thousands takes seconds.
    """
    bounds = [first.start, first.stop, second.start, second.stop]
    name = f'{_PAIRS}-{"-".join(map(str, bounds))}.json'
    entry = CacheEntry(self.damaged_list.with_name(name), _read_pairs)
    if (kept := entry.load()) is not None:
      return kept
    digests = [digest.tobytes() for digest in self.digests]
    exact = exact_pairs(digests[first], digests[second])
    same = {j for _, j in exact}
    near = near_pairs(self.thumbnails[first], self.thumbnails[second])
    found = exact, [(i, j) for i, j in near if j not in same]
    with contextlib.suppress(OSError):  # no permission: compared anew next time
      entry.store(lambda path: path.write_text(json.dumps(found), 'utf-8'))
    return found


def fits_on_disk(count: int, preprocessing: Preprocessing) -> bool:
  """Whether so many decoded images take at most half of what is free where the cache is."""
  free = shutil.disk_usage(nearest_folder(cache_folder())).free
  return count * math.prod(preprocessing.shape) <= free / 2


def load(listing: Listing, preprocessing: Preprocessing, workers: int) -> DecodedFolder:
  """The decoded images of a folder, from the cache or by decoding them into it.

  Args:
    listing: The files of the folder.
    preprocessing: How the files become images.
    workers: How many threads decode; Pillow's decoders do not hold Python's lock.

  Raises:
    UserError: there is no room or no permission for the cache.
  """
  entry = CacheEntry(cache_folder() / f'folder-{_key(listing, preprocessing)[:24]}', _read)
  return entry.load_or_store(
    functools.partial(_write, files=listing.files, preprocessing=preprocessing, workers=workers),
    'decoded images',
    'decode them in each epoch: --config.data.folder.cache=False --config.data.placement=host',
  )


def decode_all(
  files: Sequence[ImageFile], preprocessing: Preprocessing, workers: int
) -> Iterator[Decoded | DamagedImageError]:
  """Decodes in order, a few files ahead of whoever takes the results."""

  def attempt(file: ImageFile) -> Decoded | DamagedImageError:
    try:
      return decode_file(file.path, preprocessing)
    except DamagedImageError as error:
      return error

  ahead = _WAITING * workers
  with ThreadPoolExecutor(workers) as pool:
    waiting = [pool.submit(attempt, file) for file in files[:ahead]]
    for index in range(len(files)):
      result = waiting[index % ahead].result()
      if index + ahead < len(files):
        waiting[index % ahead] = pool.submit(attempt, files[index + ahead])
      yield result


def _key(listing: Listing, preprocessing: Preprocessing) -> str:
  digest = hashlib.sha256(json.dumps([_FORMAT, dataclasses.astuple(preprocessing)]).encode())
  # The root is resolved once: for each of tens of thousands of files it would take seconds.
  root = os.path.join(os.path.realpath(listing.root), '')
  inside = str(listing.root / 'x')[:-1]  # of '.', which no path in it begins with, ''
  for file in listing.files:
    path = str(file.path)
    try:
      status = os.stat(path)
      facts = (status.st_size, status.st_mtime_ns)
    except OSError:  # a broken link, or one in a circle: the decoder will say so
      facts = (-1, -1)
    # A table may name files anywhere.
    real = f'{root}{path[len(inside) :]}' if path.startswith(inside) else os.path.realpath(path)
    digest.update(f'{real}\0{facts}\n'.encode(errors='surrogateescape'))
  return digest.hexdigest()


def _write(
  folder: pathlib.Path, files: Sequence[ImageFile], preprocessing: Preprocessing, workers: int
) -> None:
  folder.mkdir()
  kept, thumbnails, found, damaged = [], [], [], []
  # No bar where nobody looks at it.
  bar = tqdm(total=len(files), desc='decoding', unit='image', disable=None, leave=False)
  with open(folder / 'pixels', 'wb') as pixels, bar:
    for index, result in enumerate(decode_all(files, preprocessing, workers)):
      bar.update()
      if isinstance(result, DamagedImageError):
        damaged.append((str(files[index].path), str(result)))
        continue
      pixels.write(result.pixels.tobytes())
      kept.append(index)
      thumbnails.append(result.thumbnail)
      found += digests(result.pixels[None])
  np.save(folder / _DIGESTS, _as_array(found))
  np.save(folder / 'thumbnails.npy', np.reshape(thumbnails, (-1, THUMBNAIL, THUMBNAIL)))
  meta = {
    'shape': [len(kept), *preprocessing.shape],
    'kept': kept,
    'damaged': damaged,
  }
  lines = ''.join(f'{path}: {reason}\n' for path, reason in damaged)
  (folder / _DAMAGED_LIST).write_text(lines, 'utf-8', 'surrogateescape')
  (folder / 'meta.json').write_text(json.dumps(meta), 'utf-8')


def _read(entry: pathlib.Path) -> DecodedFolder:
  """Reads an entry; raises an error as `CacheEntry` wants it where it is damaged."""
  meta = json.loads((entry / 'meta.json').read_text('utf-8'))
  shape = tuple(meta['shape'])
  if (entry / 'pixels').stat().st_size != np.prod(shape, dtype=np.int64):
    raise ValueError('it was cut')
  images = np.zeros(shape, np.uint8)
  if images.size:
    images = np.memmap(entry / 'pixels', np.uint8, 'r', shape=shape).view(np.ndarray)
  thumbnails = np.load(entry / 'thumbnails.npy', allow_pickle=False).astype(np.uint8)
  return DecodedFolder(
    images,
    np.array(meta['kept'], np.int64),
    _digests(entry, images),
    thumbnails,
    tuple((str(path), str(reason)) for path, reason in meta['damaged']),
    entry / _DAMAGED_LIST,
  )


def _digests(folder: pathlib.Path, images: np.ndarray) -> np.ndarray:
  """Returns the checksums of an entry's pixels; an entry of an older version is given them."""

  def read(path: pathlib.Path) -> np.ndarray:
    kept = np.load(path, allow_pickle=False)
    if kept.dtype != np.uint8 or kept.shape != (len(images), DIGEST_BYTES):
      raise ValueError('of other images')
    return kept

  entry = CacheEntry(folder / _DIGESTS, read)
  found = entry.load()
  if found is None:
    found = _as_array(digests(images))
    with contextlib.suppress(OSError):  # no permission: made anew next time
      entry.store(functools.partial(_save, found))
  return found


def _save(array: np.ndarray, path: pathlib.Path) -> None:
  with path.open('wb') as file:  # NumPy gives names a suffix, and open files none
    np.save(file, array)


def _read_pairs(path: pathlib.Path) -> tuple[Pairs, Pairs]:
  exact, near = json.loads(path.read_text('utf-8'))
  return [(int(i), int(j)) for i, j in exact], [(int(i), int(j)) for i, j in near]


def _as_array(found: Sequence[bytes]) -> np.ndarray:
  """Digests as uint8 [N, 16]."""
  return np.frombuffer(b''.join(found), np.uint8).reshape(-1, DIGEST_BYTES)
