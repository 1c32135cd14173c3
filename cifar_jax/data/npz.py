"""Any data set in one .npz file, with the array names of Keras or of TensorFlow's tutorials."""

import pathlib

import numpy as np

from cifar_jax.data.dataset import Dataset, make_split
from cifar_jax.errors import UserError

# Without names for them, a label beyond is taken for a mistake, not for a hundred thousand classes.
_MOST_CLASSES = 100_000
# Train images, train labels, test images, test labels.
_NAMES = (
  ('x_train', 'y_train', 'x_test', 'y_test'),
  ('train_images', 'train_labels', 'test_images', 'test_labels'),
)


def find(name: str, path: pathlib.Path) -> pathlib.Path | None:
  """Finds the file: `path` itself, whatever its name, or `<name>.npz` in the folder `path`."""
  for file in (path, path / f'{name}.npz'):
    if file.suffix == '.npz' and file.is_file():
      return file
  return None


def read(name: str, path: pathlib.Path) -> Dataset:
  """Reads `x_train`, `y_train`, `x_test`, `y_test` and, where there is one, `class_names`.

  Images are uint8 `[N, H, W, C]` or, grey, `[N, H, W]`; labels are integers `[N]` or `[N, 1]`.
  Without `class_names` the classes are called '0', '1', ... up to the highest label.

  Raises:
    UserError: the file is damaged, or an array is missing or of another form.
  """
  try:
    # Pickled objects, which could run code, are not read.
    with path.open('rb') as file, np.load(file, allow_pickle=False) as archive:
      size = sum(entry.file_size for entry in archive.zip.infolist())
      if size > _MOST_BYTES:
        raise ValueError(f'it unpacks to {size:,} bytes, more than {_MOST_BYTES:,}')
      arrays = {key: archive[key] for key in archive.files if key in _WANTED}
  except Exception as error:  # A damaged file can raise almost anything.
    raise UserError(
      f'{path} cannot be read as an .npz file of plain arrays ({type(error).__name__}: {error}).'
    ) from None
  names = next((names for names in _NAMES if all(name in arrays for name in names)), None)
  if names is None:
    raise UserError(
      f'{path} holds no complete set of the arrays {", ".join(_NAMES[0])}; write it with '
      'numpy.savez(file, x_train=..., y_train=..., x_test=..., y_test=...).'
    )
  train_images, train_labels, test_images, test_labels = (arrays[key] for key in names)
  if 'class_names' in arrays:
    classes = tuple(arrays['class_names'].reshape(-1).astype(str).tolist())
  else:
    classes = tuple(str(i) for i in range(_count_classes(train_labels, test_labels)))
  train = make_split(train_images, train_labels, len(classes), f'{path}, {names[0]},')
  test = make_split(test_images, test_labels, len(classes), f'{path}, {names[2]},')
  if train.images.shape[1:] != test.images.shape[1:]:
    raise UserError(
      f'{path}: images of the shape {list(train.images.shape[1:])} to train on and '
      f'{list(test.images.shape[1:])} to test on; make them equal.'
    )
  return Dataset(name, train, test, classes, source=str(path))


_WANTED = {'class_names', *_NAMES[0], *_NAMES[1]}


# Data sets that unpack to more do not fit the device either, and a few bytes can claim to be many.
_MOST_BYTES = 16 * 2**30


def _count_classes(*labels: np.ndarray) -> int:
  """One more than the highest label; 0 where labels are of a kind that `make_split` refuses."""
  if all(np.issubdtype(part.dtype, np.integer) and part.size for part in labels):
    return min(max(int(part.max()) for part in labels) + 1, _MOST_CLASSES)
  return 0
