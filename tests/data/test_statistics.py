"""Numbers about data sets, against NumPy and by hand."""

import numpy as np

from cifar_jax.data import statistics
from cifar_jax.data.dataset import Dataset, Split


def split(images: np.ndarray, labels: list[int]) -> Split:
  return Split(images.astype(np.uint8), np.asarray(labels, np.int32))


RANDOM = np.random.default_rng(0).integers(0, 256, (7, 4, 5, 3))


def test_mean_and_deviation_are_those_of_numpy() -> None:
  mean, deviation = statistics.channel_statistics(split(RANDOM, [0] * 7))
  np.testing.assert_allclose(mean, (RANDOM / 255).mean((0, 1, 2)), rtol=1e-6)
  np.testing.assert_allclose(deviation, (RANDOM / 255).std((0, 1, 2)), rtol=1e-6)


def test_class_counts() -> None:
  assert statistics.class_counts(split(RANDOM[:4], [0, 2, 2, 0]), 4).tolist() == [2, 0, 2, 0]


def test_duplicates_by_hand() -> None:
  """Train: 0 1 1 2, the second 1 with another label; test: 2 3 3."""
  train = split(RANDOM[[0, 1, 1, 2]], [0, 1, 0, 1])
  test = split(RANDOM[[2, 3, 3]], [1, 0, 0])
  found = statistics.duplicates(Dataset('x', train, test, ('a', 'b'), 'here'))
  assert found.within == {'train': 1, 'test': 1}
  assert (found.across, found.contradictions) == (1, 1)
