"""Which data a number was measured on: a fingerprint, and classes numbered as a run has them."""

import dataclasses
import zlib
from collections.abc import Sequence

import numpy as np

from cifar_jax.data.dataset import Split
from cifar_jax.data.splits import Splits
from cifar_jax.data.statistics import class_counts
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import listed

_NAMED = 10  # classes named in a message; the rest are counted
_SEEN = 8  # test images that `fingerprint` looks at


def fingerprint(splits: Splits) -> str:
  """Eight hexadecimal digits that runs on the same data have in common, whatever their seeds.

  They follow from the names of the classes, the shape of the images, how many there are of each
  class to train on and to hold out, and the labels and some images of the test set. Data that
  differ only in the pixels of training images are not told apart.
  """
  trained = [splits.train]
  if not splits.validation_is_test or not splits.has_test:
    trained += [splits.validation, *([splits.left_out] if splits.left_out else [])]
  counts = np.sum([class_counts(part, splits.num_classes) for part in trained], axis=0)
  found = zlib.crc32(repr((splits.class_names, splits.image_shape)).encode())
  found = zlib.crc32(counts.astype('<i8').tobytes(), found)
  if splits.has_test:
    found = zlib.crc32(splits.test.labels.astype('<i4').tobytes(), found)
    indices = np.unique(np.linspace(0, len(splits.test) - 1, _SEEN).astype(int))
    found = zlib.crc32(np.ascontiguousarray(splits.test.images[indices]).tobytes(), found)
  return f'{found:08x}'


def renumbered(splits: Splits, class_names: Sequence[str]) -> Splits:
  """Numbers the labels of some data as in a list of class names that knows all of theirs.

  Args:
    splits: The splits of some data.
    class_names: The names of the classes of a run.

  Raises:
    UserError: the data have a class that the list lacks.
  """
  names = tuple(class_names)
  if splits.class_names == names:
    return splits
  if set(splits.class_names) - set(names):
    raise UserError(
      f'{splits.source} has the classes {listed(splits.class_names, _NAMED)}, but the run was '
      f'trained on the classes {listed(names, _NAMED)}; {_renaming(splits, names)}'
    )
  numbers = np.array([names.index(name) for name in splits.class_names], np.int32)

  def change(part: Split) -> Split:
    if part.labels.ndim == 1:
      return dataclasses.replace(part, labels=numbers[part.labels])
    labels = np.zeros((len(part), len(names)), part.labels.dtype)
    labels[:, numbers] = part.labels
    return dataclasses.replace(part, labels=labels)

  return dataclasses.replace(
    splits,
    train=change(splits.train),
    validation=change(splits.validation),
    test=change(splits.test),
    left_out=splits.left_out and change(splits.left_out),
    class_names=names,
  )


def _renaming(splits: Splits, names: tuple[str, ...]) -> str:
  """What to do about data whose classes are none of a run's."""
  count = len(names)
  numbers = tuple(str(number) for number in range(count))
  if len(splits.class_names) != count or numbers not in (splits.class_names, names):
    return 'give it data whose classes have these names'
  # Labels without names may be in any order: to go by the numbers could be silently wrong.
  npz = splits.source.lower().endswith('.npz')
  where = 'in the .npz file' if npz else 'beside the images and labels in an .npz file'
  wanted = list(names) if count <= _NAMED else "[...], the class_names of the run's about.json,"
  return (
    f'if its labels 0 to {count - 1} mean those classes in that order, save class_names={wanted} '
    f'{where}; if they mean them in another order, save the names in that one'
  )
