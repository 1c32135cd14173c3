"""Whether images and labels are the published ones, in the published order.

They are compared as records: rows of one split, uint8 [N, label bytes + pixel bytes], laid out as
in the binary version of CIFAR (planes of red, green and blue); of gray images, one label byte and
the rows of pixels.
"""

import hashlib
import pathlib
import struct

import numpy as np

from cifar_jax.data import cifar_files, idx
from cifar_jax.data.archives import md5_of
from cifar_jax.data.dataset import Split
from cifar_jax.data.fetch.mirrors import SAME_FILES, Package


class OtherDataError(Exception):
  """Says in what images and labels differ from the published ones, in a few words."""


def read(package: Package, folder: pathlib.Path) -> dict[str, np.ndarray]:
  """The records of each split of the official files in a folder, by the readers that training uses.

  Raises:
    UserError: the files are damaged, or some are missing.
  """
  if package.name in idx.CLASSES:
    datasets = [idx.read(package.name, idx.find(package.name, folder) or folder)]
  else:
    names = [name for name, other in SAME_FILES.items() if other == package.name]
    datasets = [
      cifar_files.read(name, cifar_files.find(name, folder) or folder)
      for name in (*names, package.name)
    ]
  return {
    'train': _records([dataset.train for dataset in datasets]),
    'test': _records([dataset.test for dataset in datasets]),
  }


def records(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Records of images, uint8 [N, H, W, C], and label bytes, uint8 [N, bytes]."""
  planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
  return np.concatenate([labels, planes], axis=1)


def _records(parts: list[Split]) -> np.ndarray:
  labels = np.stack([part.labels for part in parts], axis=1).astype(np.uint8)
  return records(parts[-1].images, labels)


def unordered(rows: np.ndarray) -> str:
  """A SHA-256 of records that does not depend on their order."""
  digests = sorted(hashlib.sha256(row.tobytes()).digest() for row in rows)
  return hashlib.sha256(b''.join(digests)).hexdigest()


def official_files(package: Package, split: str, rows: np.ndarray) -> tuple[dict[str, bytes], str]:
  """The official unpacked files of a split, made of its records.

  Where the files are several, as those of CIFAR-10, the records may have them in any order; the
  hub has them as they lie in the archive: 4, 3, 2, 5, 1.

  Returns:
    File name -> content, and a note: '' where they are the published ones byte by byte, which is
    the order too; else a sentence on the order.

  Raises:
    OtherDataError: they are not the published images and labels.
  """
  published = package.unpacked[split]
  if len(rows) != package.counts[split]:
    raise OtherDataError(f'has {len(rows)} images for {split} instead of {package.counts[split]}')
  contents = _idx_files(package, rows) if package.name in idx.CLASSES else _batches(package, rows)
  found = {md5_of(content): content for content in contents}
  if set(found) == set(published.values()):
    return {file: found[md5] for file, md5 in published.items()}, ''
  if package.unordered.get(split) != unordered(rows):
    raise OtherDataError(f'has other images or labels for {split} than those published')
  return dict(zip(published, contents, strict=True)), (
    f'{package.title}, {split}: the published images and labels, but in another order than in the '
    'official files, so that a seed draws other batches'
  )


def _batches(package: Package, rows: np.ndarray) -> list[bytes]:
  split = 'train' if len(rows) == package.counts['train'] else 'test'
  return [part.tobytes() for part in np.split(rows, len(package.unpacked[split]))]


def _idx_files(package: Package, rows: np.ndarray) -> list[bytes]:
  height, width, _ = package.image_shape
  images = struct.pack('>4B3I', 0, 0, 8, 3, len(rows), height, width) + rows[:, 1:].tobytes()
  return [images, struct.pack('>4BI', 0, 0, 8, 1, len(rows)) + rows[:, 0].tobytes()]
