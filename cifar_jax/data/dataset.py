"""What every source delivers and what training uses: plain arrays with names."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from cifar_jax.data.preprocessing import Preprocessing
from cifar_jax.utils.errors import UserError


@runtime_checkable
class Examples(Protocol):
  """A split as training reads it; `Split` is the usual one.

  A subclass of `Split` may stream its images from files: put it into `data.Splits` and set
  `--config.data.placement=host`. Which examples are needed when follows from (seed, step) alone, so
  a stream keeps no state: it is asked for the indices of one batch after the other.

  """

  @property
  def images(self) -> Any:
    """uint8 `[N, H, W, C]`; of a stream, something with `shape` that can be indexed by a slice or
    an array for the few images that are looked at outside of training.
    """

  @property
  def labels(self) -> np.ndarray:
    """int32 `[N]`, from 0."""

  def __len__(self) -> int: ...

  def batches(self, indices: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """For each array of indices [B], in order, their images uint8 `[B, H, W, C]`.

    It runs in a background thread and may take indices ahead of the batches it yields, so that
    readers of files work side by side; what it raises ends the run.
    """
    ...


@dataclasses.dataclass(frozen=True)
class Split:
  """Images with their labels, in the host's memory.

  Attributes:
    images: The images, uint8 `[N, H, W, C]`.
    labels: The labels, int32 `[N]`, from 0.
    digests: Checksums of the pixels of each image, uint8 `[N, 16]`, as `statistics.digests` makes
      them, where the source keeps them; to make them, all pixels are read.
    groups: The group of each image, text or integers `[N]`, such as a patient or a video, whose
      images `config.data.keep_groups_together` keeps on one side; None where nobody said it. Equal
      values are one group in every split of a source.
  """

  images: np.ndarray
  labels: np.ndarray
  digests: np.ndarray | None = dataclasses.field(default=None, kw_only=True)
  groups: np.ndarray | None = dataclasses.field(default=None, kw_only=True)

  def __len__(self) -> int:
    return len(self.labels)

  def batches(self, indices: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """For each array of indices [B], in order, their images uint8 `[B, H, W, C]`."""
    return (self.images[rows] for rows in indices)

  def take(self, index: slice | np.ndarray) -> 'Split':
    """The part that a slice or an array of indices names."""
    digests = None if self.digests is None else self.digests[index]
    groups = None if self.groups is None else self.groups[index]
    return Split(self.images[index], self.labels[index], digests=digests, groups=groups)


def images_per_batch(image_shape: Sequence[int], most: int) -> int:
  """Images (H, W, C) in one forward pass: fewer of large ones, which bounds the memory in use.

  Args:
    image_shape: The height and width, in pixels, and the channels.
    most: How many there are of images of up to 64 x 64 pixels.
  """
  return min(most, max(1, most * 64 * 64 // (image_shape[0] * image_shape[1])))


@dataclasses.dataclass(frozen=True)
class Dataset:
  """A data set as its source delivers it.

  Attributes:
    name: What `--config.data.name` calls it.
    train: The training images, in the order of the source.
    test: The test images; none where the source has none.
    class_names: One name per label.
    source: Where it came from, for people: a path or 'built in'.
    synthetic: Whether the images were drawn by a program.
    validation: Validation images of the source's own; None where it has none.
    notes: Sentences on what was found in the source, for people.
    preprocessing: How an image file becomes one of these images; None where nobody said it.
    names_shared: Whether the notes name the images that are in two of its splits.
  """

  name: str
  train: Split
  test: Split
  class_names: tuple[str, ...]
  source: str
  synthetic: bool = False
  validation: Split | None = None
  notes: tuple[str, ...] = ()
  preprocessing: Preprocessing | None = None
  names_shared: bool = False

  @property
  def splits(self) -> dict[str, Split]:
    """The splits that there are, by name, in the order train, validation, test."""
    every = {'train': self.train, 'validation': self.validation, 'test': self.test}
    return {name: split for name, split in every.items() if split is not None}


def make_split(images: np.ndarray, labels: np.ndarray, num_classes: int, where: str) -> Split:
  """Checks one split and gives its labels the type int32 and its gray images a channel axis.

  Args:
    images: The images, uint8 `[N, H, W, C]` or, if gray, `[N, H, W]`.
    labels: The labels, integers `[N]` or `[N, 1]`, each at least 0 and below `num_classes`.
    num_classes: The number of classes.
    where: What errors call the arrays, usually the path of their file.

  Raises:
    UserError: the arrays are something else.
  """
  if images.ndim == 3:
    images = images[..., np.newaxis]
  if labels.ndim == 2 and labels.shape[1] == 1:
    labels = labels[:, 0]
  if images.dtype != np.uint8 or images.ndim != 4 or 0 in images.shape:
    raise UserError(
      f'{where} holds images of type {images.dtype} and shape {list(images.shape)}; '
      'expected uint8 and [images, height, width, channels].'
    )
  if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
    raise UserError(
      f'{where} holds labels of type {labels.dtype} and shape {list(labels.shape)}; '
      'expected integers, one for each image.'
    )
  if len(images) != len(labels):
    raise UserError(f'{where} holds {len(images)} images but {len(labels)} labels.')
  lowest, highest = int(labels.min()), int(labels.max())
  if lowest < 0 or highest >= num_classes:
    wrong = lowest if lowest < 0 else highest
    raise UserError(
      f'{where} holds the label {wrong}; expected labels from 0 to {num_classes - 1}.'
    )
  return Split(images, labels.astype(np.int32))
