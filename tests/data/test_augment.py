"""Scaling and augmentation against NumPy: what comes out must be one of the possible images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from cifar_jax.data.augment import (
  Augmentation,
  alternating_flip,
  make_augment,
  make_normalize,
  random_crop,
  random_cutout,
  random_flip,
)

EXAMPLE_KEY = jax.random.key(9)
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


@pytest.mark.parametrize('run', [0, 1])
def test_alternating_flip_shows_both_sides_in_any_two_epochs(run) -> None:
  images = random_images(400, 3, 4, 2)
  indices = GENERATOR.permutation(50000)[:400]
  flip = jax.jit(lambda indices, epoch: alternating_flip(jax.random.key(run), *indices, epoch))
  views = [np.asarray(flip((images, indices), epoch)) for epoch in range(4)]
  mirrored = (views[0] == images[:, :, ::-1]).all((1, 2, 3))
  np.testing.assert_array_equal(~mirrored, (views[0] == images).all((1, 2, 3)))
  assert 140 < mirrored.sum() < 260  # 400 fair coins: six standard deviations are 60
  np.testing.assert_array_equal(views[1], views[0][:, :, ::-1])
  np.testing.assert_array_equal(views[2], views[0])
  np.testing.assert_array_equal(views[3], views[1])


def test_alternating_flip_belongs_to_the_example_not_to_its_place_in_the_batch() -> None:
  images, indices = random_images(100, 2, 3, 1), np.arange(100) + 7
  order = GENERATOR.permutation(100)
  straight = np.asarray(alternating_flip(EXAMPLE_KEY, images, indices, 3))
  shuffled = np.asarray(alternating_flip(EXAMPLE_KEY, images[order], indices[order], 3))
  np.testing.assert_array_equal(shuffled, straight[order])
  other = np.asarray(alternating_flip(jax.random.key(10), images, indices, 3))
  assert not np.array_equal(other, straight)


@settings(max_examples=30, deadline=None)
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


def augmentation(flip: str = 'none', crop_padding: int = 0, cutout: int = 0) -> Augmentation:
  section = ConfigDict({'flip': flip, 'crop_padding': crop_padding, 'cutout': cutout})
  return make_augment(section, EXAMPLE_KEY)


def test_nothing_asked_for_is_nothing_done() -> None:
  images = random_images(3, 4, 4, 3)
  np.testing.assert_array_equal(augmentation()(jax.random.key(0), images, jnp.arange(3), 0), images)


@pytest.mark.parametrize(
  ('flip', 'padding'), [('random', 0), ('none', 1), ('random', 1), ('alternating', 1)]
)
def test_same_key_same_images_and_another_key_others(flip, padding) -> None:
  images = random_images(64, 5, 5, 1)
  augment = jax.jit(augmentation(flip, padding))
  once, twice, other = (
    np.asarray(augment(jax.random.key(k), images, jnp.arange(64), 1)) for k in (3, 3, 4)
  )
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
  assert len(kinds) > (6 if flip == 'none' else 13)
  assert flip != 'none' or max(kinds) < 9


@pytest.mark.parametrize('flip', ['random', 'alternating'])
def test_flip_tells_nothing_about_the_crop(flip) -> None:
  """Each function has a key of its own: with one key for both they would go together."""
  images = np.repeat(random_images(1, 5, 5, 1), 2000, axis=0)
  result = np.asarray(augmentation(flip, 1)(jax.random.key(0), images, jnp.arange(2000), 0))
  possible = np.concatenate([windows(images[0], 1), windows(images[0, :, ::-1], 1)])
  kinds = (result[:, None] == possible).all((2, 3, 4)).sum(0)
  assert kinds.sum() == 2000
  assert kinds.min() > 60  # 111 expected in each of 18, five standard deviations are 51
  assert kinds.max() < 162


def test_cutout_comes_after_the_crop() -> None:
  """A box cut before the crop could be moved out of the image or be reflected into it twice."""
  images = 1 + random_images(300, 6, 6, 1)
  augment = augmentation('alternating', 2, 3)
  result = np.asarray(augment(jax.random.key(0), images, jnp.arange(300), 0))
  assert ((result == 0).sum((1, 2, 3)) == 9).all()
