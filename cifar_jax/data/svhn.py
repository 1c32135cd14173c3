"""Street View House Numbers in its official MATLAB files, digits cut out and 32x32 pixels.

Y. Netzer, T. Wang, A. Coates, A. Bissacco, B. Wu and A. Y. Ng, "Reading Digits in Natural Images
with Unsupervised Feature Learning", 2011. A file has `X`, uint8 [32, 32, 3, N], and `y`, [N, 1], in
which the digit 0 has the label 10.
"""

import pathlib

import numpy as np

from cifar_jax.data import matlab
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
_MOST_IMAGES = 600_000
_BYTES = 32 * 32 * 3


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
  with as_user_error(f'{path} cannot be read as a MATLAB file', '; get the file again'):
    content = path.read_bytes()
    found = {one.name: one for one in matlab.variables(content, _MOST_IMAGES * _BYTES)}
  images, labels = found.get('X'), found.get('y')
  if (
    images is None
    or labels is None
    or images.array is None
    or labels.array is None
    or images.kind != 'uint8'
    or images.shape[:-1] != _SHAPE
    or labels.array.size != images.shape[-1]
    or not labels.array.size
  ):
    said = ', '.join(f'{one.name} {one.kind} {list(one.shape)}' for one in found.values())
    raise UserError(
      f'{path} holds {said[:200] or "nothing"}; expected X uint8 [32, 32, 3, images] and y with a '
      'label for each, as the official files have them'
    )
  return _split(images.array, labels.array.reshape(-1), path)


def _split(images: np.ndarray, labels: np.ndarray, path: pathlib.Path) -> Split:
  if labels.dtype.kind == 'f':
    if not (labels == np.round(labels)).all():
      raise UserError(f'{path} holds labels that are no whole numbers; get the file again')
    labels = labels.astype(np.int64)
  if (labels == 10).any() and (labels == 0).any():
    raise UserError(f'{path} holds the labels 0 and 10; expected one of the two for the digit 0')
  images = np.ascontiguousarray(images.transpose(3, 0, 1, 2))
  return make_split(images, np.where(labels == 10, 0, labels), len(CLASSES), str(path))
