"""Scaling by given numbers, by the training images, and by ZCA, against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax.augment import normalize
from cifar_jax.augment.normalize import make_normalize
from cifar_jax.utils.errors import UserError

GENERATOR = np.random.default_rng(0)


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


def section(kind: str, **options) -> ConfigDict:
  plain = {'mean': (0.0,), 'std': (1.0,), 'zca_images': 10**6, 'zca_epsilon': 1e-6}
  return ConfigDict({'normalize': kind, **plain, **options})


def test_floats_are_taken_to_be_scaled_already() -> None:
  function = make_normalize((0.5,), (0.25,))
  images = GENERATOR.integers(0, 256, (2, 3, 3, 1), dtype=np.uint8)
  scaled = images.astype(np.float32) / 255
  np.testing.assert_allclose(function(images), function(jnp.asarray(scaled)), atol=1e-6)


@pytest.mark.parametrize('channels', [1, 3])
def test_channel_statistics_are_those_of_numpy(channels) -> None:
  images = GENERATOR.integers(0, 256, (3000, 4, 5, channels), dtype=np.uint8)
  images[..., 0] //= 3
  found = normalize.channel_statistics(images)
  scaled = images.astype(np.float64) / 255
  np.testing.assert_allclose(found.mean, scaled.mean((0, 1, 2)), rtol=1e-6)
  np.testing.assert_allclose(found.std, scaled.std((0, 1, 2)), rtol=1e-6)
  mean, std = normalize.channel_moments(images)
  np.testing.assert_allclose(mean, scaled.mean((0, 1, 2)), rtol=1e-12)
  np.testing.assert_allclose(std, scaled.std((0, 1, 2)), rtol=1e-12)
  normalized = np.asarray(normalize.fit_normalize(section('channel'), images)(images))
  np.testing.assert_allclose(normalized.mean((0, 1, 2)), 0, atol=1e-4)
  np.testing.assert_allclose(normalized.std((0, 1, 2)), 1, atol=1e-4)


def test_a_channel_of_one_value_is_not_divided_by_zero() -> None:
  images = np.full((4, 2, 2, 1), 51, np.uint8)
  found = np.asarray(normalize.fit_normalize(section('channel'), images)(images))
  np.testing.assert_allclose(found, 0, atol=1e-6)
  assert normalize.channel_moments(images)[1] == pytest.approx([0], abs=1e-12)


def correlated(count: int) -> np.ndarray:
  """Images 4 x 3 x 2 whose numbers depend on each other."""
  hidden = GENERATOR.standard_normal((count, 24)) @ GENERATOR.standard_normal((24, 24))
  return np.clip(128 + 12 * hidden, 0, 255).astype(np.uint8).reshape(count, 4, 3, 2)


def test_zca_makes_pixels_uncorrelated_and_stays_near_the_image() -> None:
  images = correlated(5000)
  whitened = np.asarray(normalize.fit_normalize(section('zca'), images)(images)).reshape(5000, -1)
  np.testing.assert_allclose(whitened.mean(0), 0, atol=1e-3)
  np.testing.assert_allclose(np.cov(whitened.T, bias=True), np.eye(24), atol=2e-2)
  # Of all whitenings ZCA is the one with the symmetric matrix.
  matrix = normalize.zca(images, 1e-6).whitening
  np.testing.assert_allclose(matrix, matrix.T, atol=1e-3 * np.abs(matrix).max())


def test_zca_is_the_formula_of_keras_in_float64() -> None:
  images = correlated(400)
  flat = images.reshape(400, -1) / 255
  centred = flat - flat.mean(0)
  _, s, vt = np.linalg.svd(centred / np.sqrt(400))
  expected = (vt.T / np.sqrt(s**2 + 1e-3)) @ vt
  found = normalize.zca(images, 1e-3).whitening
  np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_images_of_zca_are_the_first_ones() -> None:
  images = correlated(300)
  few = normalize.fit_normalize(section('zca', zca_images=200), images)
  np.testing.assert_array_equal(few.whitening, normalize.zca(images[:200], 1e-6).whitening)


def test_zca_of_large_images_is_refused() -> None:
  with pytest.raises(UserError, match=r"--config\.data\.normalize='zca' is for images of up to"):
    normalize.fit_normalize(section('zca'), np.zeros((2, 150, 150, 3), np.uint8))


def test_given_numbers_must_fit_the_channels() -> None:
  with pytest.raises(UserError, match=r'data\.std has 2 numbers for images of 3 channels'):
    normalize.fit_normalize(section('given', std=(1.0, 2.0)), np.zeros((1, 2, 2, 3), np.uint8))
