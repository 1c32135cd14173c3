"""Numbers about a data set: sizes, balance, exact duplicates."""

import dataclasses
import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from cifar_jax.data.dataset import Dataset, Split

DIGEST_BYTES = 16
_MIDDLE = 64  # bytes that tell most images from each other
_ROWS = 512  # images looked at at a time, which bounds the memory in use


@dataclasses.dataclass(frozen=True)
class Duplicates:
  """Images whose pixels are equal.

  Attributes:
    within: For each split, how many images repeat an earlier one of the same split.
    across: (split, later split) -> images of the later one that are also in the other, in the order
      train, validation, test.
    contradictions: How many images carry different labels in different places.
  """

  within: Mapping[str, int]
  across: Mapping[tuple[str, str], int]
  contradictions: int


def class_counts(split: Split, classes: int) -> np.ndarray:
  """int64 [classes]: images of each class; one with several labels counts for each of them."""
  if split.labels.ndim == 2:
    return split.labels.sum(axis=0, dtype=np.int64)
  return np.bincount(split.labels, minlength=classes)


def duplicates(dataset: Dataset) -> Duplicates:
  """Compares the pixels of all images, by their checksums."""
  found = {name: digests_of(split) for name, split in dataset.splits.items()}
  labels_of: dict[bytes, set[bytes]] = {}
  for name, split in dataset.splits.items():
    for digest, label in zip(found[name], split.labels, strict=True):
      labels_of.setdefault(digest, set()).add(label.tobytes())
  return Duplicates(
    within={name: len(part) - len(set(part)) for name, part in found.items()},
    across=_across(found),
    contradictions=sum(len(labels) > 1 for labels in labels_of.values()),
  )


def shared_images(parts: Mapping[str, Split]) -> dict[tuple[str, str], int]:
  """(split, later split) -> images of the later one whose pixels are also in the other, those with
  none left out. Streams are not compared: it would decode all of their files.
  """
  stored = {name: part for name, part in parts.items() if isinstance(part.images, np.ndarray)}
  if all(part.digests is None for part in stored.values()):
    stored = dict(_perhaps_shared(stored))
  found = _across({name: digests_of(part) for name, part in stored.items()})
  return {pair: count for pair, count in found.items() if count}


def _perhaps_shared(parts: Mapping[str, Split]) -> Iterator[tuple[str, Split]]:
  """Each split with those of its images that another split may have: those with the same bytes in
  their middle as one of its images. Checksums of all pixels take fifty times as long.
  """
  middles = {name: _middles(part.images) for name, part in parts.items()}
  for name, part in parts.items():
    others = [middles[other] for other in middles if other != name] or [middles[name][:0]]
    yield name, part.take(np.flatnonzero(np.isin(middles[name], np.concatenate(others))))


def _middles(images: np.ndarray) -> np.ndarray:
  """A number, uint64, that follows from the bytes in the middle of each image [N, H, W, C]."""
  flat = images.reshape(len(images), math.prod(images.shape[1:]))
  start = max(0, (flat.shape[1] - _MIDDLE) // 2)
  words = np.zeros((len(flat), _MIDDLE), np.uint8)
  chosen = flat[:, start : start + _MIDDLE]
  words[:, : chosen.shape[1]] = chosen
  factors = np.random.default_rng(0).integers(1, 2**63, _MIDDLE // 8, np.uint64)
  return (words.view(np.uint64) * factors).sum(1)


def _across(found: Mapping[str, Sequence[bytes]]) -> dict[tuple[str, str], int]:
  known = {name: set(part) for name, part in found.items()}
  return {
    (first, second): sum(digest in known[first] for digest in found[second])
    for first, second in itertools.combinations(found, 2)
  }


def digests_of(split: Split) -> list[bytes]:
  """Returns the checksums of a split's images: those its source keeps, else of its pixels."""
  kept = split.digests
  return digests(split.images) if kept is None else [digest.tobytes() for digest in kept]


def digests(images: np.ndarray) -> list[bytes]:
  """A checksum of 16 bytes of the pixels of each image of uint8 [N, H, W, C]."""
  return [
    hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=DIGEST_BYTES).digest()
    for start in range(0, len(images), _ROWS)
    for image in np.asarray(images[start : start + _ROWS])
  ]
