"""MNIST and the data sets in its format: four idx files, each plain or as .gz.

Format: Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of handwritten digits", 1998.
A big-endian header (two zero bytes, the type, the number of axes, the length of every axis), then
the values.
"""

import gzip
import math
import pathlib
import struct
import zlib

import numpy as np

from cifar_jax.data.dataset import Dataset, Split, make_split
from cifar_jax.errors import UserError

_DIGITS = tuple('0123456789')
CLASSES = {
  'mnist': _DIGITS,
  'fashion_mnist': (
    'T-shirt/top',
    'Trouser',
    'Pullover',
    'Dress',
    'Coat',
    'Sandal',
    'Shirt',
    'Sneaker',
    'Bag',
    'Ankle boot',
  ),
  'kmnist': ('o', 'ki', 'su', 'tsu', 'na', 'ha', 'ma', 'ya', 're', 'wo'),
}
# Where torchvision (MNIST/raw) and Keras (fashion-mnist) put them.
_FOLDERS = {
  'mnist': ('MNIST/raw', 'mnist'),
  'fashion_mnist': ('FashionMNIST/raw', 'fashion-mnist'),
  'kmnist': ('KMNIST/raw', 'kmnist'),
}
_FILES = tuple(
  f'{part}-{content}'
  for part in ('train', 't10k')
  for content in ('images-idx3-ubyte', 'labels-idx1-ubyte')
)
_UINT8 = 8  # The code of the only type that these files use.
_LARGEST = 1 << 28


def find(name: str, path: pathlib.Path) -> pathlib.Path | None:
  """Finds the folder with the idx files of `name`: `path` or a usual one in it."""
  for folder in (path, *(path / part for part in _FOLDERS.get(name, ()))):
    if name in CLASSES and _file(folder, _FILES[0]).is_file():
      return folder
  return None


def sources(path: pathlib.Path) -> list[pathlib.Path]:
  """The files on which the content of what `find` found depends."""
  return [file for file in (_file(path, name) for name in _FILES) if file.is_file()]


def read(name: str, path: pathlib.Path) -> Dataset:
  """Reads the four files in the folder `path`; images become `[N, H, W, 1]`.

  Raises:
    UserError: a file is missing or damaged; the message names it.
  """
  classes = CLASSES[name]

  def part(images: str, labels: str) -> Split:
    where = str(_file(path, images))
    return make_split(_read(path, images, 3), _read(path, labels, 1), len(classes), where)

  return Dataset(name, part(*_FILES[:2]), part(*_FILES[2:]), classes, source=str(path))


def _file(folder: pathlib.Path, name: str) -> pathlib.Path:
  """The plain file where there is one, else the packed one."""
  return folder / name if (folder / name).is_file() else folder / f'{name}.gz'


def _read(folder: pathlib.Path, name: str, axes: int) -> np.ndarray:
  path = _file(folder, name)
  if not path.is_file():
    raise UserError(f'{folder} lacks {name} (plain or .gz); get all four files again.')
  try:
    with gzip.open(path) if path.suffix == '.gz' else path.open('rb') as file:
      content = file.read(_LARGEST + 1)
  except (OSError, EOFError, zlib.error) as error:
    raise UserError(f'{path} cannot be read ({error}); get the file again.') from None
  header = 4 + 4 * axes
  if len(content) < header or content[:4] != bytes((0, 0, _UINT8, axes)):
    raise UserError(f'{path} is no idx file of bytes with {axes} axes; get the file again.')
  shape = struct.unpack(f'>{axes}I', content[4:header])
  if len(content) != header + math.prod(shape):
    raise UserError(
      f'{path} has {len(content)} bytes; its header announces {header + math.prod(shape)}: '
      'get the file again.'
    )
  return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
