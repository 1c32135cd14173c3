"""Any data set in one .npz file, with the array names of Keras, TensorFlow's tutorials or MedMNIST.

What is there is taken as `pixels` and the notes say, or refused with what to do about it.
"""

import collections
import dataclasses
import itertools
import pathlib
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from cifar_jax.data import npz_archive, pixels
from cifar_jax.data.dataset import Dataset, Split, make_split
from cifar_jax.utils.errors import UserError, as_user_error
from cifar_jax.utils.suggestions import listed

# Without names for them, more labels are taken for a mistake, not for a hundred thousand classes.
_MOST_CLASSES = 100_000
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
# Those of a set that nothing is trained on.
_ALONE = tuple(
  (pair, ('', ''), ('', ''))
  for pair in (
    *(('x_test', 'y_test'), ('test_images', 'test_labels')),
    *(('images', 'labels'), ('x', 'y')),
  )
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


def read(name: str, path: pathlib.Path, alone: bool = False) -> Dataset:
  """Reads `x_train`, `y_train` and, where they are there, `x_test`, `y_test`, `x_val`, `y_val`,
  `class_names` and `groups`, names in capitals too.

  Images are `[N, H, W, C]`, `[N, C, H, W]` or, gray, `[N, H, W]`: uint8, whole numbers from 0 to
  255 of another type, or floating numbers from 0 to 1, whose 1 becomes 255. Labels are integers
  `[N]` or `[N, 1]`, or one-hot `[N, classes]`; of several labels an image they are 0 and 1 in a
  column for each class. Without `class_names` the classes are the labels that occur in training, in
  their order, or the columns, each called by its number; with it they are numbers of names, from 0.
  `groups` are the groups of the training images, integers or text `[N]`.

  Args:
    name: What the data set is called.
    path: The file.
    alone: Whether nothing is trained on the set: it may then have `x_test` and `y_test`, `images`
      and `labels` or `x` and `y` alone, which are all of it.

  Raises:
    UserError: the file is damaged, an array is missing or of another form, pixels have another
      range, there are fewer than two classes, or one that occurs outside of training only.
  """
  arrays = _read_arrays(path, alone)
  pairs = _pairs(path, arrays, alone)
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
  several = _are_multi_hot([arrays[y] for _, y in present.values()])
  if several:
    labels = {part: arrays[y].astype(np.uint8) for part, (_, y) in present.items()}
  else:
    labels = {part: _labels(arrays[y], f'{path}, {y},') for part, (_, y) in present.items()}
    _check_one_hot(path, {y: arrays[y] for _, y in present.values()}, notes)
  for part, (x, _) in present.items():
    if images[part].size and len(images[part]) != len(labels[part]):
      raise UserError(
        f'{path}, {x}, holds {len(images[part])} images but {len(labels[part])} labels.'
      )
  classes, numbers = (_columns if several else _classes)(arrays, labels, path, notes)
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
  empty = Split(splits['train'].images[:0], splits['train'].labels[:0])
  return Dataset(
    name,
    splits['train'],
    splits.get('test', empty),
    classes,
    source=str(path),
    validation=splits.get('validation'),
    notes=tuple(notes),
  )


def _pairs(path: pathlib.Path, names: Collection[str], alone: bool) -> tuple[tuple[str, str], ...]:
  """The names of images and labels of each part, as a file names them."""
  lower = {name.lower() for name in names}
  for pairs in (*_NAMES, *(_ALONE if alone else ())):
    test = lower & set(pairs[2])
    if lower >= set(pairs[0]) and len(test) != 1:
      return pairs
  expected = ', '.join((*_NAMES[0][0], *_NAMES[0][2]))
  raise UserError(
    f'{path} holds no complete set of the arrays {expected}; it holds '
    f'{listed([name[:_LONGEST_NAME] for name in names], _SHOWN) or "none"}: write it with '
    'numpy.savez(file, x_train=..., y_train=..., x_test=..., y_test=...).'
  )


def _read_arrays(path: pathlib.Path, alone: bool) -> dict[str, np.ndarray]:
  """The arrays of one of the sets of names; nothing is unpacked where there is none."""
  lower: dict[str, str] = {}

  def choose(names: Sequence[str]) -> list[str]:
    lower.update({name: name.lower() for name in names})  # X_train is x_train
    if len(set(lower.values())) < len(lower):
      lower.update({name: name for name in names})
    wanted = {'class_names', _GROUPS, *itertools.chain(*_pairs(path, names, alone))}
    return [name for name in names if lower[name] in wanted]

  with as_user_error(f'{path} cannot be read as an .npz file of plain arrays', '.'):
    arrays = npz_archive.read(path, choose)
  return {lower[name]: array for name, array in arrays.items()}


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
    remedy = 'for several labels an image, save 0 and 1 with a column for each class, in every part'
  elif labels.dtype.kind in 'US':
    remedy = 'names, labels = numpy.unique(labels, return_inverse=True) and save class_names=names'
  else:
    remedy = "save labels.astype('int64') if they are whole numbers"
  raise UserError(
    f'{where} holds labels of type {labels.dtype} and shape {list(labels.shape)}; expected '
    f'integers, one for each image: {remedy}.'
  )


def _are_multi_hot(every: Sequence[np.ndarray]) -> bool:
  """Whether labels are 0 and 1 in two columns or more, and not one-hot in all parts."""
  for labels in every:
    if labels.ndim != 2 or labels.shape[1] < 2 or labels.dtype.kind not in 'biuf':
      return False
    if not labels.size or not ((labels == 0) | (labels == 1)).all():
      return False
  return not all(map(_is_one_hot, every))


def _columns(
  arrays: Mapping[str, np.ndarray],
  labels: Mapping[str, np.ndarray],
  path: pathlib.Path,
  notes: list[str],
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
  """The names of the classes of labels that are a column a class, and those labels."""
  count = labels['train'].shape[1]
  for part, values in labels.items():
    if values.shape[1] != count:
      raise UserError(
        f'{path} holds labels in {count} columns to train on and in {values.shape[1]} of {part}; '
        'make them equal.'
      )
  if count > _MOST_CLASSES:
    raise UserError(f'{path} holds labels in {count} columns; expected up to {_MOST_CLASSES:,}.')
  names = tuple(str(number) for number in range(count))
  if 'class_names' in arrays:
    names = _class_names(arrays['class_names'], path)
  if len(names) != count:
    raise UserError(f'{path} holds labels in {count} columns, but {len(names)} class_names.')
  mean = labels['train'].sum() / len(labels['train'])
  notes.append(f'labels in {count} columns of 0 and 1: {mean:.2f} labels an image')
  absent = [names[number] for number in np.flatnonzero(~labels['train'].any(axis=0))]
  if absent:
    notes.append(f'of {len(absent)} labels there is no image: {listed(absent, _SHOWN)}')
  return names, dict(labels)


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
