"""Street View House Numbers in its official MATLAB files, digits cut out and 32x32 pixels.

Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu and A. Y. Ng, "Reading Digits in Natural Images
with Unsupervised Feature Learning", 2011. A file has `X`, uint8 [32, 32, 3, N], and `y`, [N, 1], in
which the digit 0 has the label 10.
"""

import io
import pathlib
import struct
import zlib

import numpy as np
import scipy.io

from cifar_jax.data.dataset import Dataset, Split, make_split
from cifar_jax.utils.errors import UserError, as_user_error

CLASSES = tuple('0123456789')
# The second also trains on the easier images beside the training images.
_TRAIN = {
  'svhn_cropped': ('train_32x32.mat',),
  'svhn_extra': ('train_32x32.mat', 'extra_32x32.mat'),
}
NAMES = tuple(_TRAIN)
_TEST = 'test_32x32.mat'
_SHAPE = (32, 32, 3)
_MOST_IMAGES = 1_000_000
_HEADER, _TAG, _COMPRESSED = 128, 8, 15  # bytes, bytes, the type of a packed element
_SLACK = 1 << 16  # bytes around the numbers of an array: names, shapes, types
_CHUNK = 1 << 20
_VERSION_5 = 1  # as SciPy numbers the formats


def expected(name: str) -> tuple[str, ...]:
  """The names of the files of `name`, for messages; none where it is another data set."""
  return (*_TRAIN[name], _TEST) if name in _TRAIN else ()


def find(name: str, path: pathlib.Path) -> pathlib.Path | None:
  """Finds the folder with the files of `name`: `path`."""
  return path if any((path / file).is_file() for file in expected(name)) else None


def sources(name: str, path: pathlib.Path) -> list[pathlib.Path]:
  """The files on which the content of what `find` found depends."""
  return [path / file for file in expected(name)]


def read(name: str, path: pathlib.Path) -> Dataset:
  """Reads the files in the folder `path`; the label 10 becomes 0.

  Raises:
    UserError: a file is missing, damaged, or holds something else; the message names it.
  """
  parts = [_read(path / file) for file in _TRAIN[name]]
  train = parts[0]
  if len(parts) > 1:
    train = Split(
      np.concatenate([part.images for part in parts]),
      np.concatenate([part.labels for part in parts]),
    )
  notes = ('SVHN: the label 10 is the digit 0',)
  return Dataset(name, train, _read(path / _TEST), CLASSES, source=str(path), notes=notes)


def _read(path: pathlib.Path) -> Split:
  if not path.is_file():
    raise UserError(f'{path.parent} lacks {path.name}; put the official file there')
  damaged = as_user_error(f'{path} cannot be read as a MATLAB file', '; get the file again')
  with damaged, path.open('rb') as file:
    content = file.read(_most_bytes(_MOST_IMAGES) + 1)
    if scipy.io.matlab.matfile_version(io.BytesIO(content))[0] != _VERSION_5:
      raise UserError(
        f'{path} is no MATLAB file of version 5; save it in MATLAB with -v7, or in Python by '
        'scipy.io.savemat'
      )
    # What the headers say, before anything is unpacked.
    found = {what: (shape, kind) for what, shape, kind in scipy.io.whosmat(io.BytesIO(content))}
    count = found.get('X', ((0,), ''))[0][-1]
    labels, kind = found.get('y', ((), ''))
    if (
      found.get('X') != ((*_SHAPE, count), 'uint8')
      or sorted(labels) != sorted((count, 1))
      or kind not in ('uint8', 'double', 'single', 'int32', 'int64', 'uint16', 'int16')
      or not 0 < count <= _MOST_IMAGES
    ):
      said = ', '.join(f'{what} {kind} {list(shape)}' for what, (shape, kind) in found.items())
      raise UserError(
        f'{path} holds {said[:200] or "nothing"}; expected X uint8 [32, 32, 3, images] and y with '
        'a label for each, as the official files have them'
      )
    _check_size(content, _most_bytes(count))
    arrays = scipy.io.loadmat(io.BytesIO(content), variable_names=['X', 'y'])
  return _split(arrays['X'], arrays['y'].reshape(-1), path)


def _split(images: np.ndarray, labels: np.ndarray, path: pathlib.Path) -> Split:
  if labels.dtype.kind == 'f':
    if not (labels == np.round(labels)).all():
      raise UserError(f'{path} holds labels that are no whole numbers; get the file again')
    labels = labels.astype(np.int64)
  if (labels == 10).any() and (labels == 0).any():
    raise UserError(f'{path} holds the labels 0 and 10; expected one of the two for the digit 0')
  images = np.ascontiguousarray(images.transpose(3, 0, 1, 2))
  return make_split(images, np.where(labels == 10, 0, labels), len(CLASSES), str(path))


def _most_bytes(count: int) -> int:
  """Bytes of the arrays of so many images, their labels of 8 bytes each."""
  return count * (int(np.prod(_SHAPE)) + 8) + _SLACK


def _check_size(content: bytes, most: int) -> None:
  """Raises ValueError where the elements of a file unpack to more than its header lets expect.

  It is unpacked piece by piece, so that a few bytes that claim to be many take no memory.
  """
  total, start = 0, _HEADER
  order = '<' if content[_HEADER - 2 : _HEADER] == b'IM' else '>'
  while start + _TAG <= len(content):
    kind, size = struct.unpack_from(f'{order}II', content, start)
    start += _TAG
    if kind != _COMPRESSED:
      total += size
    else:
      unpacker, waiting = zlib.decompressobj(), content[start : start + size]
      while waiting and not unpacker.eof and total <= most:
        total += len(unpacker.decompress(waiting, _CHUNK))
        waiting = unpacker.unconsumed_tail
    if total > most:
      raise ValueError(f'it unpacks to more than the {most:,} bytes of its images')
    start += size
