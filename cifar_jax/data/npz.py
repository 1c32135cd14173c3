"""Any data set in one .npz file, with the array names of Keras, TensorFlow's tutorials or MedMNIST.

What is there is taken as `pixels` and the notes say, or refused with what to do about it.
"""

import collections
import dataclasses
import itertools
import pathlib
from collections.abc import Collection, Mapping

import numpy as np

from cifar_jax.data import pixels
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
_GROUPS = 'groups'
_LONGEST_NAME = 255  # letters, as file systems have it for the folders of classes
_SHOWN = 10  # names and labels in a message


def find(name: str, path: pathlib.Path) -> pathlib.Path | None:
  """Finds the file: `path` itself, whatever its name, or `<name>.npz` in the folder `path`."""
  for file in (path, path / f'{name}.npz'):
    if file.suffix.lower() == '.npz' and file.is_file():
      return file
  return None


def read(name: str, path: pathlib.Path) -> Dataset:
  """Reads `x_train`, `y_train` and, where they are there, `x_test`, `y_test`, `x_val`, `y_val`,
  `class_names` and `groups`, names in capitals too.

  Images are `[N, H, W, C]`, `[N, C, H, W]` or, gray, `[N, H, W]`: uint8, whole numbers from 0 to
  255 of another type, or floating numbers from 0 to 1, whose 1 becomes 255. Labels are integers
  `[N]` or `[N, 1]`, or one-hot `[N, classes]`. Without `class_names` the classes are the labels
  that occur in training, in their order, each called by its number; with it they are numbers of
  names, from 0. `groups` are the groups of the training images, integers or text `[N]`.

  Raises:
    UserError: the file is damaged, an array is missing or of another form, pixels have another
      range, there are fewer than two classes, or one that occurs outside of training only.
  """
  arrays = _read_arrays(path)
  pairs = _pairs(path, arrays)
  notes: list[str] = []
  present = {
    part: pair
    for part, pair in zip(_PARTS, pairs, strict=True)
    if pair[0] in arrays and pair[1] in arrays and (part == 'train' or arrays[pair[0]].size)
  }
  pixels.check_scales(path, {x: arrays[x] for x, _ in present.values()})
  images = {
    part: pixels.uint8_images(arrays[x], f'{path}, {x},', notes) for part, (x, _) in present.items()
  }
  labels = {part: _labels(arrays[y], f'{path}, {y},') for part, (_, y) in present.items()}
  _check_one_hot(path, {y: arrays[y] for _, y in present.values()}, notes)
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
  if _GROUPS in arrays:
    groups = _groups(arrays[_GROUPS], len(labels['train']), path)
    splits['train'] = dataclasses.replace(splits['train'], groups=groups)
  pixels.check_brightness(path, splits['train'], notes)
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
  lower = {name.lower() for name in names}
  for pairs in _NAMES:
    test = lower & set(pairs[2])
    if lower >= set(pairs[0]) and len(test) != 1:
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
    lower = {key: key.lower() for key in archive.files}  # X_train is x_train
    if len(set(lower.values())) < len(lower):
      lower = {key: key for key in archive.files}
    wanted = {'class_names', _GROUPS, *itertools.chain(*_pairs(path, archive.files))}
    return {name: archive[key] for key, name in lower.items() if name in wanted}


def _is_one_hot(labels: np.ndarray) -> bool:
  """Whether labels [N, K] are 1 in one column of each row and 0 elsewhere."""
  if labels.ndim != 2 or labels.shape[1] < 2 or labels.dtype.kind not in 'biuf' or not labels.size:
    return False
  one = (labels == 1).sum(axis=1) == 1
  return bool(one.all() and ((labels == 0).sum(axis=1) == labels.shape[1] - 1).all())


def _check_one_hot(path: pathlib.Path, labels: Mapping[str, np.ndarray], notes: list[str]) -> None:
  """Refuses one-hot labels of different numbers of classes, and notes that there are such."""
  columns = {name: array.shape[1] for name, array in labels.items() if _is_one_hot(array)}
  if len(set(columns.values())) > 1:
    said = ', '.join(f'{count} in {name}' for name, count in columns.items())
    raise UserError(f'{path} holds one-hot labels of different numbers of classes, {said}.')
  if columns:
    notes.append(f'{", ".join(columns)}: one-hot, read as the number of the column that is 1')


def _groups(groups: np.ndarray, count: int, path: pathlib.Path) -> np.ndarray:
  """The group of each training image [N]; refuses what is something else."""
  if groups.ndim == 2 and groups.shape[1] == 1:
    groups = groups[:, 0]
  if groups.shape != (count,) or groups.dtype.kind not in 'iuUS':
    raise UserError(
      f'{path}, {_GROUPS}, holds groups of type {groups.dtype} and shape {list(groups.shape)}; '
      f'expected integers or text, one for each of the {count} training images.'
    )
  return groups


def _labels(labels: np.ndarray, where: str) -> np.ndarray:
  """Labels [N]; refuses what are no integers, with how to make them so."""
  if labels.ndim == 2 and labels.shape[1] == 1:
    labels = labels[:, 0]
  if labels.ndim == 1 and np.issubdtype(labels.dtype, np.integer) and labels.size:
    return labels
  if _is_one_hot(labels):
    return labels.argmax(axis=1)
  if labels.ndim == 2 and labels.dtype.kind in 'biuf':
    remedy = 'several labels an image cannot be trained on here'
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
