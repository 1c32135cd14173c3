"""Mirror images by the right coins; crops that are windows of their own image; boxes set to 0."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_jax.augment.geometric import (
  alternating_flip,
  random_crop,
  random_cutout,
  random_erasing,
  random_flip,
  random_vertical_flip,
)
from cifar_jax.ops.dispatch import for_platform
from tests.helpers.windows import windows

EXAMPLE_KEY = jax.random.key(9)
GENERATOR = np.random.default_rng(0)
CROP = jax.jit(random_crop, static_argnums=2, static_argnames='border')
CUTOUT = jax.jit(random_cutout, static_argnums=2)
ERASE = jax.jit(random_erasing, static_argnums=2)
FLIP = jax.jit(alternating_flip)


def random_images(*shape: int) -> np.ndarray:
  return GENERATOR.uniform(size=shape).astype(np.float32)


def test_flip_mirrors_each_image_by_its_own_coin() -> None:
  images = random_images(1000, 3, 4, 2)
  flipped = np.asarray(jax.jit(random_flip)(jax.random.key(0), images))
  mirrored = (flipped == images[:, :, ::-1]).all((1, 2, 3))
  untouched = (flipped == images).all((1, 2, 3))
  np.testing.assert_array_equal(mirrored, ~untouched)
  assert 400 < mirrored.sum() < 600  # six standard deviations of 1000 fair coins are 95
  neighbors = (mirrored[1:] == mirrored[:-1]).sum()
  assert 400 < neighbors < 600  # fair coins follow each other as often as not


@pytest.mark.parametrize('run', [0, 1])
def test_alternating_flip_shows_both_sides_in_any_two_epochs(run) -> None:
  images = random_images(400, 3, 4, 2)
  indices = GENERATOR.permutation(50000)[:400].astype(np.int32)
  flip = jax.jit(lambda indices, epoch: alternating_flip(jax.random.key(run), *indices, epoch))
  views = [np.asarray(flip((images, indices), epoch)) for epoch in range(4)]
  mirrored = (views[0] == images[:, :, ::-1]).all((1, 2, 3))
  np.testing.assert_array_equal(~mirrored, (views[0] == images).all((1, 2, 3)))
  assert 140 < mirrored.sum() < 260  # 400 fair coins: six standard deviations are 60
  np.testing.assert_array_equal(views[1], views[0][:, :, ::-1])
  np.testing.assert_array_equal(views[2], views[0])
  np.testing.assert_array_equal(views[3], views[1])


def test_alternating_flip_belongs_to_the_example_not_to_its_place_in_the_batch() -> None:
  images, indices = random_images(100, 2, 3, 1), np.arange(100, dtype=np.int32) + 7
  order = GENERATOR.permutation(100)
  straight = np.asarray(FLIP(EXAMPLE_KEY, images, indices, 3))
  shuffled = np.asarray(FLIP(EXAMPLE_KEY, images[order], indices[order], 3))
  np.testing.assert_array_equal(shuffled, straight[order])
  other = np.asarray(FLIP(jax.random.key(10), images, indices, 3))
  assert not np.array_equal(other, straight)


def test_vertical_flip_turns_each_image_upside_down_by_its_own_coin() -> None:
  images = random_images(1000, 3, 4, 2)
  flipped = np.asarray(jax.jit(random_vertical_flip)(jax.random.key(0), images))
  turned = (flipped == images[:, ::-1]).all((1, 2, 3))
  np.testing.assert_array_equal(turned, ~(flipped == images).all((1, 2, 3)))
  assert 400 < turned.sum() < 600


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
  cropped = np.asarray(CROP(jax.random.key(seed), images, padding))
  assert cropped.shape == images.shape
  assert cropped.dtype == np.float32
  for image, crop in zip(images, cropped, strict=True):
    assert (windows(image, padding) == crop).all((1, 2, 3)).any()


def test_crop_takes_all_offsets_equally_often_and_per_image() -> None:
  images = np.repeat(random_images(1, 7, 6, 1), 2500, axis=0)
  cropped = np.asarray(CROP(jax.random.key(1), images, 2))
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
  cropped = np.asarray(CROP(jax.random.key(0), images, 1, border='zero'))
  zeros = (cropped == 0).sum((1, 2, 3))
  # 4 of 9 windows touch a corner of the frame, 4 one side, 1 none.
  assert set(zeros) == {0, 4, 7}
  inner = cropped[zeros == 0]
  assert all((image == images).all((1, 2, 3)).any() for image in inner)


@settings(max_examples=8, deadline=None)
@given(
  height=st.integers(1, 7),
  width=st.integers(1, 7),
  size=st.integers(1, 9),
  seed=st.integers(0, 2**31),
)
def test_cutout_is_one_whole_box_of_zeros(height, width, size, seed) -> None:
  images = 1 + random_images(3, height, width, 2)
  result = np.asarray(CUTOUT(jax.random.key(seed), images, size))
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
  cut = np.asarray(CUTOUT(jax.random.key(2), images, 3))
  tops = (cut == 0).any((2, 3)).argmax(1)
  lefts = (cut == 0).any((1, 3)).argmax(1)
  counts = np.zeros((4, 3), int)
  np.add.at(counts, (tops, lefts), 1)
  assert counts.min() > 78  # 133 expected in each of 12, five standard deviations are 55
  assert counts.max() < 188


@pytest.mark.parametrize(('height', 'width'), [(1, 1), (3, 40), (32, 32), (40, 2)])
def test_erasing_is_one_box_within_its_ranges(height, width) -> None:
  images, seed = 1 + random_images(50, height, width, 2), height
  result = np.asarray(ERASE(jax.random.key(seed), images, 1.0))
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
  result = np.asarray(ERASE(jax.random.key(1), images, 0.25))
  erased = (result == 0).any((1, 2, 3))
  assert 420 < erased.sum() < 580  # 500 expected, four standard deviations are 77
  often = (result[erased] == 0).mean(0)[..., 0]
  assert often.min() > 0.001
  np.testing.assert_allclose((result[erased] == 0).mean((1, 2, 3)).mean(), 0.17, atol=0.03)


@pytest.mark.parametrize(('padding', 'border'), [(2, 'reflect'), (4, 'zero'), (9, 'reflect')])
def test_crops_for_tpu_are_those_of_other_platforms_to_the_bit(padding, border) -> None:
  """By selection among all windows, up to eight pixels of padding."""
  images, key = random_images(50, 12, 11, 2), jax.random.key(4)

  def crop(key, images):
    return random_crop(key, images, padding, border)

  expected = jax.jit(crop)(key, images)
  on_tpu = jax.jit(for_platform(crop, 'tpu'))
  np.testing.assert_array_equal(on_tpu(key, images), expected)
  loops = 'dynamic_slice' in str(jax.make_jaxpr(for_platform(crop, 'tpu'))(key, images))
  loops |= 'gather' in str(jax.make_jaxpr(for_platform(crop, 'tpu'))(key, images))
  assert loops == (padding > 8)
