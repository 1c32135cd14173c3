"""Any data set in one .npz file, with the array names of Keras, TensorFlow's tutorials or MedMNIST.

What is there is taken as it is or refused with what to do about it. Nothing is guessed where a
wrong guess would train without a word: on channels for rows, or on pixels that are nearly black.
"""

import collections
import itertools
import pathlib
from collections.abc import Collection, Mapping

import numpy as np

from cifar_jax.data.dataset import Dataset, Split, make_split
from cifar_jax.utils.errors import UserError, as_user_error
from cifar_jax.utils.suggestions import listed

# Without names for them, more labels are taken for a mistake, not for a hundred thousand classes.
_MOST_CLASSES = 100_000
# Data sets that unpack to more do not fit the device either, and a few bytes can claim to be many.
_MOST_BYTES = 16 * 2**30
_PARTS = ('train', 'validation', 'test')
# Images and labels of each part, as Keras names them and as TensorFlow's tutorials do.
_NAMES = (
  (('x_train', 'y_train'), ('x_val', 'y_val'), ('x_test', 'y_test')),
  (
    ('train_images', 'train_labels'),
    ('val_images', 'val_labels'),
    ('test_images', 'test_labels'),
  ),
)
# Pixels are divided by 255. Up to here they are on another scale (0..1, 0..16 of the digits of
# scikit-learn, 0..31 of five bits); below the second number that is possible, and worth a word.
_TOO_DARK, _DARK = 31, 127
_MOST_CHANNELS = 4
_LONGEST_NAME = 255  # letters, as file systems have it for the folders of classes
_SHOWN = 10  # names and labels in a message


def find(name: str, path: pathlib.Path) -> pathlib.Path | None:
  """Finds the file: `path` itself, whatever its name, or `<name>.npz` in the folder `path`."""
  for file in (path, path / f'{name}.npz'):
    if file.suffix.lower() == '.npz' and file.is_file():
      return file
  return None


def read(name: str, path: pathlib.Path) -> Dataset:
  """Reads `x_train`, `y_train`, `x_test`, `y_test` and, where they are there, `x_val`, `y_val` and
  `class_names`.

  Images are uint8 `[N, H, W, C]`, `[N, C, H, W]` or, gray, `[N, H, W]`; labels are integers `[N]`
  or `[N, 1]`. Without `class_names` the classes are the labels that occur in training, in their
  order, each called by its number; with it they are numbers of names, from 0.

  Raises:
    UserError: the file is damaged, an array is missing or of another form, pixels have another
      range than 0..255, there are fewer than two classes, or one that occurs outside of training
      only.
  """
  arrays = _read_arrays(path)
  pairs = _pairs(path, arrays)
  notes: list[str] = []
  present = {
    part: pair
    for part, pair in zip(_PARTS, pairs, strict=True)
    if pair[0] in arrays and pair[1] in arrays and (part == 'train' or arrays[pair[0]].size)
  }
  images = {part: _images(arrays[x], f'{path}, {x},', notes) for part, (x, _) in present.items()}
  labels = {part: _labels(arrays[y], f'{path}, {y},') for part, (_, y) in present.items()}
  for part, (x, _) in present.items():
    if images[part].size and len(images[part]) != len(labels[part]):
      raise UserError(
        f'{path}, {x}, holds {len(images[part])} images but {len(labels[part])} labels.'
      )
  classes, numbers = _classes(arrays, labels, path, notes)
  splits = {
    part: make_split(images[part], numbers[part], len(classes), f'{path}, {present[part][0]},')
    for part in present
  }
  _check_pixels(path, splits['train'], notes)
  shapes = {part: list(split.images.shape[1:]) for part, split in splits.items()}
  for part, shape in shapes.items():
    if shape != shapes['train']:
      raise UserError(
        f'{path}: images of the shape {shapes["train"]} to train on and {shape} of {part}; make '
        'them equal.'
      )
  if 'validation' in splits:
    notes.append(
      f'validation: the {len(splits["validation"])} images of {present["validation"][0]}'
    )
  if 'test' not in splits:
    notes.append('the file holds no test images; validation is used as test')
  empty = Split(splits['train'].images[:0], np.zeros(0, np.int32))
  return Dataset(
    name,
    splits['train'],
    splits.get('test', empty),
    classes,
    source=str(path),
    validation=splits.get('validation'),
    notes=tuple(notes),
  )


def _pairs(path: pathlib.Path, names: Collection[str]) -> tuple[tuple[str, str], ...]:
  """The names of images and labels of each part, as a file names them."""
  for pairs in _NAMES:
    if all(name in names for name in (*pairs[0], *pairs[2])):
      return pairs
  expected = ', '.join((*_NAMES[0][0], *_NAMES[0][2]))
  raise UserError(
    f'{path} holds no complete set of the arrays {expected}; it holds '
    f'{listed([name[:_LONGEST_NAME] for name in names], _SHOWN) or "none"}: write it with '
    'numpy.savez(file, x_train=..., y_train=..., x_test=..., y_test=...).'
  )


def _read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
  """The arrays of one of the sets of names; nothing is unpacked where there is none."""
  damaged = as_user_error(f'{path} cannot be read as an .npz file of plain arrays', '.')
  # Pickled objects, which could run code, are not read.
  with damaged, path.open('rb') as file, np.load(file, allow_pickle=False) as archive:
    size = sum(entry.file_size for entry in archive.zip.infolist())
    if size > _MOST_BYTES:
      raise ValueError(f'it unpacks to {size:,} bytes, more than {_MOST_BYTES:,}')
    wanted = {'class_names', *itertools.chain(*_pairs(path, archive.files))}
    return {key: archive[key] for key in archive.files if key in wanted}


def _images(images: np.ndarray, where: str, notes: list[str]) -> np.ndarray:
  """Puts the channels of images last; refuses other types, with how to make them uint8."""
  if images.dtype != np.uint8 and images.dtype.kind in 'biuf' and images.size:
    low, high = images.min(), images.max()
    factor = '' if high > 1 else '255 * '
    raise UserError(
      f'{where} holds images of type {images.dtype} from {low:g} to {high:g} and shape '
      f'{list(images.shape)}; expected uint8 from 0 to 255: save ({factor}images).round()'
      ".astype('uint8'), scaled to that range."
    )
  if images.ndim == 4 and images.shape[1] <= _MOST_CHANNELS < min(images.shape[2:]):
    notes.append(
      f'{where.split(", ")[-1].rstrip(",")}: channels first, {list(images.shape[1:])}, read as '
      f'{[*images.shape[2:], images.shape[1]]}'
    )
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))
  return images


def _labels(labels: np.ndarray, where: str) -> np.ndarray:
  """Labels [N]; refuses what are no integers, with how to make them so."""
  if labels.ndim == 2 and labels.shape[1] == 1:
    labels = labels[:, 0]
  if labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer) and labels.size:
    return labels
  if labels.ndim == 2 and labels.dtype.kind in 'biuf':
    one_hot = bool((np.sum(labels != 0, axis=1) == 1).all())
    remedy = (
      'save labels.argmax(1)' if one_hot else 'several labels an image cannot be trained on here'
    )
  elif labels.dtype.kind in 'US':
    remedy = 'names, labels = numpy.unique(labels, return_inverse=True) and save class_names=names'
  else:
    remedy = "save labels.astype('int64') if they are whole numbers"
  raise UserError(
    f'{where} holds labels of type {labels.dtype} and shape {list(labels.shape)}; expected '
    f'integers, one for each image: {remedy}.'
  )


def _classes(
  arrays: Mapping[str, np.ndarray],
  labels: Mapping[str, np.ndarray],
  path: pathlib.Path,
  notes: list[str],
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
  """The names of the classes, and the labels of each part as numbers of them."""
  lowest = min(int(part.min()) for part in labels.values())
  if lowest < 0:
    raise UserError(f'{path} holds the label {lowest}; expected labels from 0.')
  occurring = np.unique(labels['train'])
  for part, values in labels.items():
    if len(unknown := np.setdiff1d(values, occurring)):
      raise UserError(
        f'{path} holds the label {unknown[0]} in {part}, of which there is no training image; add '
        'some, or take those images out.'
      )
  if len(occurring) < 2 or len(occurring) > _MOST_CLASSES:
    raise UserError(
      f'{path} holds {len(occurring)} classes of training images, as the label {occurring[0]}; '
      f'expected from 2 to {_MOST_CLASSES:,}.'
    )
  if 'class_names' not in arrays:
    names = tuple(str(label) for label in occurring)
    if occurring[-1] != len(occurring) - 1:
      notes.append(f'the labels that occur are the {len(names)} classes: {listed(names, _SHOWN)}')
    return names, {part: np.searchsorted(occurring, values) for part, values in labels.items()}
  names = _class_names(arrays['class_names'], path)
  if occurring[-1] >= len(names):
    raise UserError(
      f'{path} holds the label {occurring[-1]}; expected labels from 0 to {len(names) - 1}, as '
      'class_names has them.'
    )
  absent = [names[number] for number in np.setdiff1d(np.arange(len(names)), occurring)]
  if absent:
    notes.append(f'of {len(absent)} classes there is no image: {listed(absent, _SHOWN)}')
  return names, dict(labels)


def _class_names(names: np.ndarray, path: pathlib.Path) -> tuple[str, ...]:
  """The names as text, each once; bytes are UTF-8."""
  try:
    found = tuple(
      name.decode() if isinstance(name, bytes) else str(name) for name in names.reshape(-1).tolist()
    )
  except UnicodeDecodeError:
    raise UserError(
      f'{path}, class_names, holds bytes that are not UTF-8; save text, as numpy.array(names, str).'
    ) from None
  odd = [name for name in found if not name.isprintable() or not 0 < len(name) <= _LONGEST_NAME]
  if odd:
    raise UserError(
      f'{path}, class_names, holds {odd[0][:_SHOWN]!r} of {len(odd[0])} letters; a name has 1 to '
      f'{_LONGEST_NAME} printable ones.'
    )
  twice = [name for name, count in collections.Counter(found).items() if count > 1]
  if twice:
    raise UserError(
      f'{path}, class_names, holds {listed(twice, _SHOWN)} more than once; make them differ.'
    )
  return found


def _check_pixels(path: pathlib.Path, train: Split, notes: list[str]) -> None:
  """Refuses images that are nearly black once they are divided by 255."""
  low, high = int(train.images.min()), int(train.images.max())
  if high <= _TOO_DARK:
    raise UserError(
      f'{path} holds training images with pixels from {low} to {high}; expected 0 to 255, by which '
      f"they are divided: save (images * (255 / {max(high, 1)})).round().astype('uint8')."
    )
  if high <= _DARK:
    notes.append(f'pixels are from {low} to {high}, and are divided by 255')
