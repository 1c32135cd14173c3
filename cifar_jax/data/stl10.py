"""STL-10 in its official binary files: 5,000 and 8,000 labeled images of 96x96 pixels.

A. Coates, H. Lee and A. Y. Ng, "An Analysis of Single Layer Networks in Unsupervised Feature
Learning", 2011. An image is a plane of each color, column after column; labels are from 1. The
100,000 images without a label are not read.
"""

import pathlib

import numpy as np

from cifar_jax.data.dataset import Dataset, Split, make_split
from cifar_jax.utils.errors import UserError, as_user_error

CLASSES = (
  *('airplane', 'bird', 'car', 'cat', 'deer'),
  *('dog', 'horse', 'monkey', 'ship', 'truck'),
)
NAME = 'stl10'
SHAPE = (96, 96, 3)
_BYTES = 96 * 96 * 3
_FILES = ('train_X.bin', 'train_y.bin', 'test_X.bin', 'test_y.bin')
_FOLDER = 'stl10_binary'  # as the archive unpacks
_MOST_IMAGES = 50_000


def expected(name: str) -> tuple[str, ...]:
  """The names of the files, for messages; none where `name` is another data set."""
  return _FILES if name == NAME else ()


def find(name: str, path: pathlib.Path) -> pathlib.Path | None:
  """Finds the folder with the files: `path` or the one in it that the archive makes."""
  for folder in (path, path / _FOLDER):
    if any((folder / file).is_file() for file in expected(name)):
      return folder
  return None


def sources(name: str, path: pathlib.Path) -> list[pathlib.Path]:
  """The files on which the content of what `find` found depends."""
  return [path / file for file in expected(name)]


def read(name: str, path: pathlib.Path) -> Dataset:
  """Reads the files in the folder `path`.

  Raises:
    UserError: a file is missing or has another size than such a file; the message names it.
  """
  train, test = (_read(path / images, path / labels) for images, labels in (_FILES[:2], _FILES[2:]))
  return Dataset(name, train, test, CLASSES, source=str(path))


def _read(image_path: pathlib.Path, label_path: pathlib.Path) -> Split:
  for path in (image_path, label_path):
    if not path.is_file():
      raise UserError(f'{path.parent} lacks {path.name}; put the official file there')
  size, count = image_path.stat().st_size, label_path.stat().st_size
  if size != count * _BYTES or not 0 < count <= _MOST_IMAGES:
    raise UserError(
      f'{image_path} has {size} bytes and {label_path.name} {count} labels, of which each has an '
      f'image of {_BYTES} bytes; get the files again'
    )
  with as_user_error(f'{image_path.parent} cannot be read', '; get the files again'):
    planes = np.fromfile(image_path, np.uint8).reshape(-1, *SHAPE[::-1])  # [N, C, W, H]
    labels = np.fromfile(label_path, np.uint8).astype(np.int64)
  wrong = labels[(labels < 1) | (labels > len(CLASSES))]
  if len(wrong):
    raise UserError(
      f'{label_path} holds the label {wrong[0]}; expected labels from 1 to {len(CLASSES)}'
    )
  images = np.ascontiguousarray(planes.transpose(0, 3, 2, 1))
  return make_split(images, labels - 1, len(CLASSES), str(label_path))
