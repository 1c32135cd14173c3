"""Boxes that are set to 0."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_jax.augment.erase import random_cutout, random_erasing

GENERATOR = np.random.default_rng(0)


def random_images(*shape: int) -> np.ndarray:
  return GENERATOR.uniform(size=shape).astype(np.float32)


@settings(max_examples=8, deadline=None)
@given(
  height=st.integers(1, 7),
  width=st.integers(1, 7),
  size=st.integers(1, 9),
  seed=st.integers(0, 2**31),
)
def test_cutout_is_one_whole_box_of_zeros(height, width, size, seed) -> None:
  images = 1 + random_images(3, height, width, 2)
  result = np.asarray(random_cutout(jax.random.key(seed), images, size))
  for image, cut in zip(images, result, strict=True):
    rows, columns = np.nonzero((cut == 0).all(-1))
    box = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1))
    assert (rows.max() - rows.min() + 1, columns.max() - columns.min() + 1) == (
      min(size, height),
      min(size, width),
    )
    expected = image.copy()
    expected[box] = 0
    np.testing.assert_array_equal(cut, expected)


def test_cutout_takes_all_places_equally_often_and_per_image() -> None:
  images = np.ones((1600, 6, 5, 1), np.float32)
  cut = np.asarray(jax.jit(lambda key, x: random_cutout(key, x, 3))(jax.random.key(2), images))
  tops = (cut == 0).any((2, 3)).argmax(1)
  lefts = (cut == 0).any((1, 3)).argmax(1)
  counts = np.zeros((4, 3), int)
  np.add.at(counts, (tops, lefts), 1)
  assert counts.min() > 78  # 133 expected in each of 12, five standard deviations are 55
  assert counts.max() < 188


@pytest.mark.parametrize(('height', 'width'), [(1, 1), (3, 40), (32, 32), (40, 2)])
def test_erasing_is_one_box_within_its_ranges(height, width) -> None:
  images, seed = 1 + random_images(50, height, width, 2), height
  result = np.asarray(random_erasing(jax.random.key(seed), images, 1.0))
  for image, erased in zip(images, result, strict=True):
    rows, columns = np.nonzero((erased == 0).all(-1))
    tall, wide = rows.max() - rows.min() + 1, columns.max() - columns.min() + 1
    assert len(rows) == tall * wide
    assert (erased == 0).all(-1).sum() * 2 == (erased != image).sum()
    # Sides are rounded to whole pixels and cut to the image.
    assert tall <= np.sqrt(0.33 * 3.3 * height * width) + 0.5
    assert (tall + 1) * (wide + 1) >= 0.02 * height * width or tall == height or wide == width


def test_erasing_happens_with_its_probability_and_everywhere() -> None:
  images = np.ones((2000, 20, 20, 1), np.float32)
  result = np.asarray(jax.jit(lambda key: random_erasing(key, images, 0.25))(jax.random.key(1)))
  erased = (result == 0).any((1, 2, 3))
  assert 420 < erased.sum() < 580  # 500 expected, four standard deviations are 77
  often = (result[erased] == 0).mean(0)[..., 0]
  assert often.min() > 0.001
  np.testing.assert_allclose((result[erased] == 0).mean((1, 2, 3)).mean(), 0.17, atol=0.03)
