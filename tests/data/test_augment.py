"""Scaling and augmentation against NumPy: what comes out must be one of the possible images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from cifar_jax.data.augment import make_augment, make_normalize, random_crop, random_flip

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


def offsets(images: np.ndarray, cropped: np.ndarray, padding: int) -> list[int]:
  """Which window of its own image each cropped one is; raises unless it is exactly one."""
  found = []
  for image, crop in zip(images, cropped, strict=True):
    matches = np.flatnonzero((windows(image, padding) == crop).all((1, 2, 3)))
    assert len(matches) == 1
    found.append(int(matches[0]))
  return found


@pytest.mark.parametrize(
  ('mean', 'std'),
  [
    ((0.0,), (1.0,)),
    ((0.5,), (0.25,)),
    ((0.0,), (0.5,)),
    ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    ((0.0, 0.0, 0.3), (1.0, 1.0, 1.0)),
    ((0, 0, 0), (1, 1, 1)),
  ],
)
def test_normalize(mean, std) -> None:
  images = GENERATOR.integers(0, 256, (5, 4, 3, 3), dtype=np.uint8)
  images[0, 0, 0] = 255
  images[0, 0, 1] = 0
  found = jax.jit(make_normalize(mean, std))(images)
  assert found.dtype == jnp.float32
  expected = (images.astype(np.float64) / 255 - np.array(mean)) / np.array(std)
  np.testing.assert_allclose(found, expected, atol=2e-6)


def test_flip_mirrors_each_image_by_its_own_coin() -> None:
  images = random_images(1000, 3, 4, 2)
  flipped = np.asarray(jax.jit(random_flip)(jax.random.key(0), images))
  mirrored = (flipped == images[:, :, ::-1]).all((1, 2, 3))
  untouched = (flipped == images).all((1, 2, 3))
  np.testing.assert_array_equal(mirrored, ~untouched)
  assert 400 < mirrored.sum() < 600  # six standard deviations of 1000 fair coins are 95
  neighbours = (mirrored[1:] == mirrored[:-1]).sum()
  assert 400 < neighbours < 600  # fair coins follow each other as often as not


@settings(max_examples=30, deadline=None)
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


def augment_config(flip: bool, crop_padding: int) -> ConfigDict:
  return ConfigDict({'flip': flip, 'crop_padding': crop_padding})


def test_nothing_asked_for_is_nothing_done() -> None:
  images = random_images(3, 4, 4, 3)
  augment = make_augment(augment_config(False, 0))
  np.testing.assert_array_equal(augment(jax.random.key(0), images), images)


@pytest.mark.parametrize(('flip', 'padding'), [(True, 0), (False, 1), (True, 1)])
def test_same_key_same_images_and_another_key_others(flip, padding) -> None:
  images = random_images(64, 5, 5, 1)
  augment = jax.jit(make_augment(augment_config(flip, padding)))
  once, twice, other = (np.asarray(augment(jax.random.key(k), images)) for k in (3, 3, 4))
  np.testing.assert_array_equal(once, twice)
  assert not np.array_equal(once, other)
  if padding == 0:
    return
  # Both together: each is a window of the image or of its mirror image, and all 18 occur.
  mirrors = images[:, :, ::-1]
  kinds = set()
  for image, mirror, result in zip(images, mirrors, once, strict=True):
    possible = np.concatenate([windows(image, padding), windows(mirror, padding)])
    matches = np.flatnonzero((possible == result).all((1, 2, 3)))
    assert len(matches) == 1
    kinds.add(int(matches[0]))
  assert len(kinds) > (13 if flip else 6)
  assert flip or max(kinds) < 9


def test_flip_tells_nothing_about_the_crop() -> None:
  """Each function has a key of its own: with one key for both they would go together."""
  images = np.repeat(random_images(1, 5, 5, 1), 2000, axis=0)
  result = np.asarray(make_augment(augment_config(True, 1))(jax.random.key(0), images))
  possible = np.concatenate([windows(images[0], 1), windows(images[0, :, ::-1], 1)])
  kinds = (result[:, None] == possible).all((2, 3, 4)).sum(0)
  assert kinds.sum() == 2000
  assert kinds.min() > 60  # 111 expected in each of 18, five standard deviations are 51
  assert kinds.max() < 162
