"""MNIST, EMNIST and the data sets in their format: four idx files, each plain or as .gz.

Format: Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of handwritten digits", 1998.
A big-endian header (two zero bytes, the type, the number of axes, the length of every axis), then
the values.

EMNIST: G. Cohen, S. Afshar, J. Tapson and A. van Schaik, "EMNIST: an extension of MNIST to
handwritten letters", 2017. Its images are stored transposed, and the labels of its letters count
from 1; here they are upright, and count from 0.
"""

import gzip
import io
import math
import pathlib
import string
import struct
import zlib
from collections.abc import Sequence

import numpy as np

from cifar_jax.data.archives import md5_of
from cifar_jax.data.dataset import Dataset, make_split
from cifar_jax.utils.errors import UserError

_DIGITS = tuple(string.digits)
_EMNIST = 'emnist_'
_LETTERS = f'{_EMNIST}letters'
# Lower case letters that look like those of upper case count as these.
_MERGED = (*string.digits, *string.ascii_uppercase, *'abdefghnqrt')
CLASSES = {
  'mnist': _DIGITS,
  'fashion_mnist': (
    *('T-shirt/top', 'Trouser', 'Pullover', 'Dress', 'Coat'),
    *('Sandal', 'Shirt', 'Sneaker', 'Bag', 'Ankle boot'),
  ),
  'kmnist': ('o', 'ki', 'su', 'tsu', 'na', 'ha', 'ma', 'ya', 're', 'wo'),
  f'{_EMNIST}byclass': (*string.digits, *string.ascii_uppercase, *string.ascii_lowercase),
  f'{_EMNIST}bymerge': _MERGED,
  f'{_EMNIST}balanced': _MERGED,
  _LETTERS: tuple(string.ascii_uppercase),
  f'{_EMNIST}digits': _DIGITS,
  f'{_EMNIST}mnist': _DIGITS,
}
# Where torchvision (MNIST/raw) and Keras (fashion-mnist) put them.
_FOLDERS = {
  'mnist': ('MNIST/raw', 'mnist'),
  'fashion_mnist': ('FashionMNIST/raw', 'fashion-mnist'),
  'kmnist': ('KMNIST/raw', 'kmnist'),
}
FILES = tuple(
  f'{part}-{content}'
  for part in ('train', 't10k')
  for content in ('images-idx3-ubyte', 'labels-idx1-ubyte')
)
# MD5s of the packed files, as torchvision publishes them.
MD5 = {
  'mnist': (
    'f68b3c2dcbeaaa9fbdd348bbdeb94873',
    'd53e105ee54ea40749a09fcbcd1e9432',
    '9fb629c4189551a2d022fa330f9573f3',
    'ec29112dd5afa0611ce80d1b7f02629c',
  ),
  'fashion_mnist': (
    '8d4fb7e6c68d591d4c3dfef9ec88bf0d',
    '25c81989df183df01b3e8a0aad5dffbe',
    'bef4ecab320f06d8554ea6380940ec79',
    'bb300cfdad3c16e7a12a480ee83cd310',
  ),
  'kmnist': (
    'bdb82020997e1d708af4cf47b453dcf7',
    'e144d726b3acfaa3e44228e80efcd344',
    '5c965bf0a639b31b8f53240b1b52f4d7',
    '7320c461ea6c1c855c0b718fb2a4b134',
  ),
}
_PACKED = b'\x1f\x8b'  # how gzip begins
_UINT8 = 8  # The code of the only type that these files use.
_LARGEST = 1 << 30


def find(name: str, path: pathlib.Path) -> pathlib.Path | None:
  """Finds the folder with the idx files of `name`: `path` or a usual one in it."""
  usual = _FOLDERS.get(name, ('EMNIST/raw', 'gzip', 'emnist'))
  for folder in (path, *(path / part for part in usual)):
    if any(_file(folder, file).is_file() for file in expected(name)):
      return folder
  return None


def expected(name: str) -> tuple[str, ...]:
  """The names of the files of `name`, for messages; none where it is no data set of this format."""
  if name.startswith(_EMNIST) and name in CLASSES:
    part = name.removeprefix(_EMNIST)
    return tuple(f'emnist-{part}-{file.replace("t10k", "test")}' for file in FILES)
  return FILES if name in CLASSES else ()


def read(name: str, path: pathlib.Path) -> Dataset:
  """Reads the four files in the folder `path`; images become `[N, H, W, 1]`.

  Raises:
    UserError: a file is missing or damaged, or the test images have another size than the training
      images; the message names it.
  """
  classes, files = CLASSES[name], expected(name)
  notes: list[str] = []
  arrays = [
    _read(path, file, files, axes, md5, notes)
    for file, axes, md5 in zip(files, (3, 1, 3, 1), MD5.get(name, ('',) * 4), strict=True)
  ]
  if name.startswith(_EMNIST):
    arrays[::2] = [np.ascontiguousarray(images.transpose(0, 2, 1)) for images in arrays[::2]]
    notes.append('EMNIST: its files have the images transposed; they are turned upright')
  if name == _LETTERS and all(labels.min(initial=1) == 1 for labels in arrays[1::2]):
    arrays[1::2] = [labels - 1 for labels in arrays[1::2]]
    notes.append('EMNIST: the labels 1 to 26 of its letters are A to Z')
  train = make_split(arrays[0], arrays[1], len(classes), str(_file(path, files[0])))
  test = make_split(arrays[2], arrays[3], len(classes), str(_file(path, files[2])))
  sizes = ['x'.join(map(str, part.images.shape[1:3])) for part in (train, test)]
  if sizes[0] != sizes[1]:
    raise UserError(
      f'{_file(path, files[2])} holds images of {sizes[1]} pixels and {_file(path, files[0])} '
      f'of {sizes[0]}; get the files again.'
    )
  return Dataset(name, train, test, classes, source=str(path), notes=tuple(notes))


def _file(folder: pathlib.Path, name: str) -> pathlib.Path:
  """The plain file where there is one, else the packed one; some copies have a dot in the name."""
  dotted = name.replace('-idx', '.idx')
  every = [folder / file for base in (name, dotted) for file in (base, f'{base}.gz')]
  return next((file for file in every if file.is_file()), folder / f'{name}.gz')


def _read(
  folder: pathlib.Path, name: str, files: Sequence[str], axes: int, md5: str, notes: list[str]
) -> np.ndarray:
  """One file, plain or packed; `md5` of the packed one, '' where nobody published it."""
  path = _file(folder, name)
  if not path.is_file():
    raise UserError(
      f'{folder} lacks {name} (plain or .gz); expected the four files {", ".join(files)}.'
    )
  try:
    with path.open('rb') as file:
      content = file.read(_LARGEST + 1)
    # By the content, since some programs unpack a file and leave its name.
    if content[:2] == _PACKED:
      if md5 and md5_of(content) != md5:
        notes.append(f'{path} is not the published file, by its MD5: results may not compare')
      with gzip.open(io.BytesIO(content)) as unpacked:
        content = unpacked.read(_LARGEST + 1)
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
