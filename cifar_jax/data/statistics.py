"""Numbers about a data set: sizes, balance, brightness, exact duplicates."""

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping

import numpy as np

from cifar_jax.data.dataset import Dataset, Split

_ROWS = 512  # images looked at at a time, which bounds the memory in use


@dataclasses.dataclass(frozen=True)
class Duplicates:
  """Images whose pixels are equal.

  Attributes:
    within: split -> images that repeat an earlier one of the same split.
    across: test images that are also training images.
    contradictions: images that carry different labels in different places.
  """

  within: Mapping[str, int]
  across: int
  contradictions: int


def class_counts(split: Split, classes: int) -> np.ndarray:
  """int64 [classes]: images of each class."""
  return np.bincount(split.labels, minlength=classes)


def channel_statistics(split: Split) -> tuple[np.ndarray, np.ndarray]:
  """Mean and standard deviation over all pixels, float64 [C] each, on the scale 0..1."""
  channels = split.images.shape[-1]
  total, squares = np.zeros(channels), np.zeros(channels)
  for start in range(0, len(split), _ROWS):
    chunk = np.asarray(split.images[start : start + _ROWS])
    pixels = chunk.reshape(-1, channels).astype(np.float32) / 255
    total += pixels.sum(0, dtype=np.float64)
    squares += np.square(pixels).sum(0, dtype=np.float64)
  count = np.prod(split.images.shape[:3])
  mean = total / count
  return mean, np.sqrt(np.maximum(squares / count - mean**2, 0))


def duplicates(dataset: Dataset) -> Duplicates:
  """Compares the pixels of all images, by their checksums."""
  labels_of: dict[bytes, set[int]] = {}
  within: dict[str, int] = {}
  known: dict[str, set[bytes]] = {}
  across = 0
  for name, split in (('train', dataset.train), ('test', dataset.test)):
    seen: set[bytes] = set()
    repeated = 0
    for image, label in zip(_each(split), split.labels, strict=True):
      digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
      repeated += digest in seen
      across += digest in known.get('train', ())
      seen.add(digest)
      labels_of.setdefault(digest, set()).add(int(label))
    within[name], known[name] = repeated, seen
  contradictions = sum(len(labels) > 1 for labels in labels_of.values())
  return Duplicates(within, across, contradictions)


def _each(split: Split) -> Iterator[np.ndarray]:
  for start in range(0, len(split), _ROWS):
    yield from np.asarray(split.images[start : start + _ROWS])
