"""Crops: every one is a window of its own image with a border."""

import jax
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_jax.augment.crop import random_crop

GENERATOR = np.random.default_rng(0)


def random_images(*shape: int) -> np.ndarray:
  return GENERATOR.uniform(size=shape).astype(np.float32)


def windows(image: np.ndarray, padding: int) -> np.ndarray:
  """All windows of the reflected image, [(2 padding + 1)**2, H, W, C], row by row."""
  height, width, _ = image.shape
  padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), mode='reflect')
  return np.stack(
    [
      padded[y : y + height, x : x + width]
      for y in range(2 * padding + 1)
      for x in range(2 * padding + 1)
    ]
  )


@settings(max_examples=8, deadline=None)
@given(
  height=st.integers(1, 6),
  width=st.integers(1, 6),
  channels=st.integers(1, 3),
  padding=st.integers(0, 5),
  seed=st.integers(0, 2**31),
)
def test_crop_is_a_window_of_the_reflected_image(height, width, channels, padding, seed) -> None:
  # NumPy reflects a border wider than the image minus one several times; so must the crop.
  images = random_images(4, height, width, channels)
  cropped = np.asarray(random_crop(jax.random.key(seed), images, padding))
  assert cropped.shape == images.shape
  assert cropped.dtype == np.float32
  for image, crop in zip(images, cropped, strict=True):
    assert (windows(image, padding) == crop).all((1, 2, 3)).any()


def test_crop_takes_all_offsets_equally_often_and_per_image() -> None:
  images = np.repeat(random_images(1, 7, 6, 1), 2500, axis=0)
  crop = jax.jit(lambda key, images: random_crop(key, images, 2))
  cropped = np.asarray(crop(jax.random.key(1), images))
  every = windows(images[0], 2)
  found = (cropped[:, None] == every).all((2, 3, 4))
  np.testing.assert_array_equal(found.sum(1), 1)
  counts = found.sum(0)
  assert counts.shape == (25,)
  assert counts.min() > 50  # 100 expected, five standard deviations are 49
  assert counts.max() < 150
  rows, columns = np.divmod(found.argmax(1), 5)
  assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.1  # y tells nothing about x


def test_zero_border_is_black() -> None:
  images = 1 + random_images(200, 4, 4, 1)
  cropped = np.asarray(random_crop(jax.random.key(0), images, 1, border='zero'))
  zeros = (cropped == 0).sum((1, 2, 3))
  # 4 of 9 windows touch a corner of the frame, 4 one side, 1 none.
  assert set(zeros) == {0, 4, 7}
  inner = cropped[zeros == 0]
  assert all((image == images).all((1, 2, 3)).any() for image in inner)
