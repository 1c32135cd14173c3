"""The handwritten digits of scikit-learn and of the UCI repository: gray, 8x8 pixels.

E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", 1998. A line of a file has
the 64 pixels of an image, whole numbers from 0 to 16, then the digit. scikit-learn keeps the 1,797
test images of the original, and calls them all its digits.
"""

import gzip
import io
import pathlib

import numpy as np

from cifar_jax.data.dataset import Dataset, Split, make_split
from cifar_jax.utils.errors import UserError, as_user_error
from cifar_jax.utils.optional_deps import require

CLASSES = tuple('0123456789')
NAME = 'digits'
SHAPE = (8, 8, 1)
_OF_SKLEARN = ('digits.csv', 'digits.csv.gz')
_OF_UCI = ('optdigits.tra', 'optdigits.tes')
_PIXELS, _BRIGHTEST = 64, 16
_MOST_BYTES = 1 << 24  # all that there are take 2 MB
_PACKED = b'\x1f\x8b'  # how gzip begins


def expected(name: str) -> tuple[str, ...]:
  """The names of the files, for messages; none where `name` is another data set."""
  return (_OF_SKLEARN[1], *_OF_UCI) if name == NAME else ()


def find(name: str, path: pathlib.Path) -> pathlib.Path | None:
  """Finds the file of scikit-learn, `path` or in it, or the folder with both of UCI."""
  if name != NAME:
    return None
  if path.name in _OF_SKLEARN and path.is_file():
    return path
  if any((path / file).is_file() for file in _OF_UCI):
    return path
  return next((path / file for file in _OF_SKLEARN if (path / file).is_file()), None)


def read(name: str, path: pathlib.Path) -> Dataset:
  """Reads what `find` found.

  Raises:
    UserError: a file is missing, damaged or has other lines; the message names it.
  """
  if path.is_dir():
    train, test = (_read(path / file) for file in _OF_UCI)
  else:
    train = _read(path)
    test = train.take(slice(0))
  return Dataset(name, train, test, CLASSES, source=str(path), notes=_notes(test))


def installed(name: str) -> Dataset:
  """The digits that scikit-learn brings along; raises UserError where it is not installed."""
  (datasets,) = require('digits', 'sklearn.datasets')
  found = datasets.load_digits()
  train = _split(found.images.reshape(-1, _PIXELS), found.target, 'scikit-learn')
  test = train.take(slice(0))
  return Dataset(name, train, test, CLASSES, source='scikit-learn', notes=_notes(test))


def _notes(test: Split) -> tuple[str, ...]:
  scaled = f'digits: pixels from 0 to {_BRIGHTEST} are scaled to 0 to 255, to the nearest'
  return (scaled,) if len(test) else (scaled, 'digits: no test images; validation is used as test')


def _read(path: pathlib.Path) -> Split:
  if not path.is_file():
    raise UserError(f'{path.parent} lacks {path.name}; put the official file there')
  with as_user_error(f'{path} cannot be read', '; get the file again'):
    with path.open('rb') as file:
      content = file.read(_MOST_BYTES + 1)
    if content[:2] == _PACKED:
      with gzip.open(io.BytesIO(content)) as unpacked:
        content = unpacked.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
      raise ValueError(f'it holds more than {_MOST_BYTES:,} bytes')
    if not content.strip():
      raise ValueError('it is empty')
    rows = np.loadtxt(io.StringIO(content.decode('ascii')), delimiter=',', ndmin=2, comments=None)
    if rows.shape[1] != _PIXELS + 1:
      raise ValueError(f'expected {_PIXELS} pixels and a digit in each line')
  return _split(rows[:, :_PIXELS], rows[:, _PIXELS], str(path))


def _split(pixels: np.ndarray, labels: np.ndarray, where: str) -> Split:
  """The split of pixels [N, 64] and digits [N], both whole numbers of any type.

  Raises:
    UserError: they are something else.
  """
  if not (pixels == np.round(pixels)).all() or pixels.min() < 0 or pixels.max() > _BRIGHTEST:
    raise UserError(
      f'{where} holds pixels from {pixels.min():g} to {pixels.max():g}; expected whole numbers '
      f'from 0 to {_BRIGHTEST}'
    )
  wrong = labels[~np.isin(labels, range(len(CLASSES)))]
  if len(wrong):
    raise UserError(f'{where} holds the label {wrong[0]:g}; expected digits')
  images = (pixels * (255 / _BRIGHTEST)).round().astype(np.uint8)
  return make_split(images.reshape(-1, *SHAPE), labels.astype(np.int64), len(CLASSES), where)
