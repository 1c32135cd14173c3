"""Colors against PIL's ImageEnhance and Python's colorsys."""

import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_jax.augment import color

GENERATOR = np.random.default_rng(0)
LEVELS = GENERATOR.integers(0, 256, (6, 7, 5, 3), dtype=np.uint8)
IMAGES = (LEVELS / 255).astype(np.float32)


@pytest.mark.parametrize(
  ('function', 'name'),
  [
    (color.brightness, 'Brightness'),
    (color.contrast, 'Contrast'),
    (color.saturation, 'Color'),
  ],
)
@pytest.mark.parametrize('factor', [0.0, 0.4, 1.0, 1.9])
def test_is_that_of_pil(function, name, factor) -> None:
  enhance = pytest.importorskip('PIL.ImageEnhance')
  image = pytest.importorskip('PIL.Image')
  found = np.asarray(function(IMAGES, jnp.full(len(IMAGES), factor)))
  expected = [
    np.asarray(getattr(enhance, name)(image.fromarray(level)).enhance(factor)) / 255
    for level in LEVELS
  ]
  # PIL rounds to whole levels, also the gray in between.
  np.testing.assert_allclose(found, expected, atol=2.1 / 255)


@pytest.mark.parametrize('function', [color.brightness, color.contrast, color.saturation])
def test_factor_of_one_changes_nothing_and_each_image_has_its_own(function) -> None:
  factor = np.array([1, 1, 0.5, 1, 1.5, 1], np.float32)
  found = np.asarray(function(IMAGES, factor))
  same = [np.allclose(a, b, atol=1e-6) for a, b in zip(found, IMAGES, strict=True)]
  assert same == [True, True, False, True, False, True]


@settings(max_examples=25, deadline=None)
@given(turn=st.floats(-1, 1), seed=st.integers(0, 2**31))
def test_hue_is_that_of_colorsys(turn, seed) -> None:
  generator = np.random.default_rng(seed)
  # Few levels, so that channels are often equal: black, white, gray and pure colors.
  images = generator.integers(0, 4, (1, 4, 4, 3)).astype(np.float32) / 3
  found = np.asarray(color.hue(images, jnp.full(1, turn)))
  for pixel, result in zip(images.reshape(-1, 3), found.reshape(-1, 3), strict=True):
    hue, saturation, value = colorsys.rgb_to_hsv(*pixel.tolist())
    expected = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, value)
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_random_color_draws_for_each_image_within_the_range() -> None:
  images = jnp.full((1000, 2, 2, 1), 0.25)
  found = np.asarray(color.random_color(jax.random.key(0), images, brightness_range=0.4))
  factors = found[:, 0, 0, 0] / 0.25
  assert 0.6 <= factors.min() < 0.62
  assert 1.38 < factors.max() <= 1.4001
  np.testing.assert_allclose(found, np.broadcast_to(found[:, :1, :1], found.shape))


def test_shift_and_scale_are_of_each_image_and_evenly_spread() -> None:
  images = jnp.tile(jnp.array([[[[0.0], [2.0]]]]), (2000, 1, 1, 1))
  zero, two = np.asarray(color.random_shift_and_scale(jax.random.key(0), images, 0.3, 0.2))[:, 0].T[
    0
  ]
  scale = (two - zero) / 2
  shift = zero / scale
  for found, middle, reach in ((scale, 1, 0.2), (shift, 0, 0.3)):
    assert np.abs(found - middle).max() <= reach + 1e-5
    # The moments of an even spread, within four standard errors.
    assert abs(found.mean() - middle) < 4 * reach / (3 * 2000) ** 0.5
    assert found.std() == pytest.approx(reach / 3**0.5, rel=0.05)
  assert abs(np.corrcoef(scale, shift)[0, 1]) < 0.1


@pytest.mark.parametrize('channels', [1, 3, pytest.param(2, marks=pytest.mark.thorough)])
@pytest.mark.parametrize('reach', [pytest.param(0.3, marks=pytest.mark.thorough), 5.0])
def test_stays_in_range_and_finite_for_any_number_of_channels(channels, reach) -> None:
  images = GENERATOR.uniform(size=(50, 4, 4, channels)).astype(np.float32)
  found = np.asarray(color.random_color(jax.random.key(1), images, reach, reach, reach, 0.5))
  assert found.shape == images.shape
  assert found.dtype == np.float32
  assert found.min() >= 0
  assert found.max() <= 1
  assert not np.array_equal(found, images)
