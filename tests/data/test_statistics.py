"""Numbers about data sets, against NumPy and by hand."""

import numpy as np

from cifar_jax.data import statistics
from cifar_jax.data.dataset import Dataset, Split


def split(images: np.ndarray, labels: list[int]) -> Split:
  return Split(images.astype(np.uint8), np.asarray(labels, np.int32))


RANDOM = np.random.default_rng(0).integers(0, 256, (7, 4, 5, 3))


def test_class_counts() -> None:
  assert statistics.class_counts(split(RANDOM[:4], [0, 2, 2, 0]), 4).tolist() == [2, 0, 2, 0]


def test_duplicates_by_hand() -> None:
  """Train: 0 1 1 2, the second 1 with another label; validation: 1 4; test: 2 3 3 4."""
  train = split(RANDOM[[0, 1, 1, 2]], [0, 1, 0, 1])
  validation = split(RANDOM[[1, 4]], [0, 0])
  test = split(RANDOM[[2, 3, 3, 4]], [1, 0, 0, 0])
  classes = ('a', 'b')
  found = statistics.duplicates(Dataset('x', train, test, classes, 'here'))
  assert found.within == {'train': 1, 'test': 1}
  assert found.across == {('train', 'test'): 1}
  assert found.contradictions == 1
  found = statistics.duplicates(Dataset('x', train, test, classes, 'here', validation=validation))
  assert found.within == {'train': 1, 'validation': 0, 'test': 1}
  assert found.across == {
    ('train', 'validation'): 1,
    ('train', 'test'): 1,
    ('validation', 'test'): 1,
  }
  parts = {'train': train, 'validation': split(RANDOM[[6]], [0]), 'test': test}
  assert statistics.shared_images(parts) == {('train', 'test'): 1}


def test_checksums_that_the_source_keeps_are_those_that_count() -> None:
  """Also of a part of the images; of these the pixels, all different, say nothing."""
  kept = np.arange(7 * 16, dtype=np.uint8).reshape(7, 16)
  kept[5] = kept[2]
  train = Split(RANDOM.astype(np.uint8), np.zeros(7, np.int32), digests=kept)
  parts = {'train': train.take(slice(4)), 'test': train.take(np.array([4, 5, 6]))}
  assert statistics.shared_images(parts) == {('train', 'test'): 1}
  assert statistics.digests_of(parts['test']) == [kept[i].tobytes() for i in (4, 5, 6)]


def test_checksums_tell_images_apart_that_differ_by_one_level() -> None:
  images = np.zeros((1000, 4, 5, 3), np.uint8)
  images.reshape(1000, -1)[np.arange(60), np.arange(60)] = 1
  found = statistics.digests(images[::1])
  assert len(set(found[:61])) == 61
  assert len(set(found)) == 61


def test_images_with_the_same_middle_are_not_taken_for_the_same() -> None:
  images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), np.uint8)
  other = images.copy()
  other[:4, 0, 0, 0] += 1  # two are left equal
  parts = {'train': split(images, [0] * 6), 'test': split(other, [0] * 6)}
  assert statistics.shared_images(parts) == {('train', 'test'): 2}
  small = {name: split(part.images[:, :2, :2], [0] * 6) for name, part in parts.items()}
  assert statistics.shared_images(small) == {('train', 'test'): 2}


def test_one_split_shares_nothing() -> None:
  assert statistics.shared_images({'train': split(RANDOM[:3], [0, 1, 2])}) == {}


def test_a_split_without_images_shares_nothing() -> None:
  parts = {'train': split(RANDOM[:3], [0, 1, 2]), 'test': split(RANDOM[:0], [])}
  assert statistics.shared_images(parts) == {}
