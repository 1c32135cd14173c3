"""Train, validation and test: three things, of which the last is never trained on."""

import dataclasses
import functools
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from cifar_jax.data.dataset import Split
from cifar_jax.data.preprocessing import Preprocessing
from cifar_jax.data.statistics import shared_images
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import listed

_SAMPLE = 64  # training images by which the data are known again


@dataclasses.dataclass(frozen=True)
class Splits:
  """What training uses.

  Attributes:
    train: The images that are learned from.
    validation: Images held out of the training images, the source's own, or the test images
      themselves.
    test: The test images of the source, untouched; where it has none, the validation images.
    class_names: One name per label.
    name: The name of the data set.
    source: Where it came from, for people.
    synthetic: Whether the images were drawn by a program.
    validation_is_test: Whether `validation` is `test`.
    notes: Sentences on what was found in the source, for people.
    has_test: Whether the source has test images.
    preprocessing: How an image file becomes one of these images; None where nobody said it.
    held_out: Whether `validation` was taken out of the training images of the source.
    held_out_by: The option of `config.data` that asked for that, as in 'validation=0.1'.
    lost_classes: The classes all of whose training images were held out.
    names_shared: Whether `notes` name the images that are in two splits of the source.
    remarks: What else must stand beside every number measured on these images.
    left_out: The validation images that `limit_validation_batches` took out; None where it took
      none.
  """

  train: Split
  validation: Split
  test: Split
  class_names: tuple[str, ...]
  name: str
  source: str
  synthetic: bool
  validation_is_test: bool
  notes: tuple[str, ...] = ()
  has_test: bool = True
  preprocessing: Preprocessing | None = None
  held_out: bool = False
  held_out_by: str = ''
  lost_classes: tuple[str, ...] = ()
  names_shared: bool = False
  remarks: tuple[str, ...] = ()
  left_out: Split | None = None

  @property
  def num_classes(self) -> int:
    """Number of classes, those without an image included."""
    return len(self.class_names)

  @property
  def image_bytes(self) -> int:
    """Bytes that the images of all splits take, those that are in two splits once."""
    parts = [self.train, self.validation, *([] if self.validation_is_test else [self.test])]
    return sum(math.prod(part.images.shape) for part in parts)

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of every image."""
    height, width, channels = self.train.images.shape[1:]
    return height, width, channels

  @functools.cached_property
  def facts(self) -> dict[str, int]:
    """What a checkpoint remembers of the data, to know them again: checksums of the training labels
    with the first image, and of images all over the set, which shift when one comes or goes.
    """
    first = zlib.crc32(self.train.images[:1].tobytes(), zlib.crc32(self.train.labels.tobytes()))
    count = len(self.train)
    indices = np.unique(np.linspace(0, count - 1, min(count, _SAMPLE)).astype(np.int64))
    sample = np.ascontiguousarray(self.train.images[indices])
    return {'data': first, 'data_sample': zlib.crc32(sample.data)}

  def are_those_of(self, facts: Mapping[str, Any]) -> bool:
    """Whether these are the data that a checkpoint's facts remember, as far as they do: those of
    older versions lack some.
    """
    return all(facts.get(name, value) == value for name, value in self.facts.items())

  @property
  def validation_examples(self) -> int:
    """Number of validation images in the data, those that are left out included."""
    return len(self.validation) + len(self.left_out or ())

  @property
  def validation_label(self) -> str:
    """What to call the validation split wherever a number measured on it is shown."""
    if not self.has_test:
      return 'validation used as test'
    return 'test used as validation' if self.validation_is_test else 'validation'


def with_shared_images_noted(splits: Splits) -> Splits:
  """Adds notes on images that are in two of the splits, which make accuracies look better; not on
  those that the source names itself.
  """
  parts = {'train': splits.train, 'validation': splits.validation, 'test': splits.test}
  if splits.validation_is_test:
    parts.pop('validation' if splits.has_test else 'test')
  if splits.names_shared:  # what was held out of its training images is all that it does not know
    parts.pop('test', None)
    if not splits.held_out:
      parts.clear()
  shared = shared_images(parts)
  notes = [
    f'{count} of the {len(parts[later])} {later} images have the same pixels as one of {name}'
    for (name, later), count in shared.items()
  ]
  if splits.held_out and ('train', 'validation') in shared:
    notes.append('--config.data.keep_duplicates_together=True holds equal images out together')
  if not isinstance(splits.train.images, np.ndarray):
    notes.append('streamed images are not looked through for equal ones')
  return dataclasses.replace(splits, notes=(*splits.notes, *notes))


def check_classes_left(splits: Splits) -> None:
  """Raises UserError where a run that starts would learn nothing of a class, all of whose training
  images are held out; one that is there may still be measured.
  """
  if splits.lost_classes:
    raise UserError(
      f'--config.data.{splits.held_out_by} holds out all training images of '
      f'{listed(splits.lost_classes, 10)}; hold fewer out, use '
      "--config.data.validation_from='random' or another --config.seed, or give it more images"
    )


def limit_validation_batches(splits: Splits, config: ConfigDict) -> Splits:
  """Keeps the validation images that a run is measured on: all, or their first whole batches.

  Args:
    splits: The splits with all of their validation images.
    config: The config of the run; `evaluate.drop_remainder` and `batch_size` are read.

  Raises:
    UserError: there is no whole batch.
  """
  if not config.evaluate.drop_remainder:
    return splits
  count = len(splits.validation) // config.batch_size * config.batch_size
  if not count:
    raise UserError(
      f'--config.evaluate.drop_remainder=True leaves none of the {len(splits.validation)} '
      f'validation images for --config.batch_size={config.batch_size}; use a smaller batch or False'
    )
  return dataclasses.replace(
    splits,
    validation=splits.validation.take(slice(count)),
    left_out=splits.validation.take(slice(count, None)),
  )
