"""The whitening filters against NumPy in float64, and against what whitening means."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax.augment.normalize import make_normalize
from cifar_jax.layers import Conv
from cifar_jax.training.whitening import make_whitening, whitening_kernel
from cifar_jax.utils.errors import UserError

GENERATOR = np.random.default_rng(1)
# Neighboring pixels go together, as in photographs.
SMOOTH = np.cumsum(np.cumsum(GENERATOR.standard_normal((60, 9, 8, 3)), 1), 2).astype(np.float32)


def patches(images: np.ndarray, height: int, width: int) -> np.ndarray:
  """All windows, one per row, in the order [height, width, channel]."""
  windows = np.lib.stride_tricks.sliding_window_view(images, (height, width), axis=(1, 2))
  return np.moveaxis(windows, 3, -1).reshape(-1, height * width * images.shape[-1])


@pytest.mark.parametrize('window', [(2, 2), (3, 3), (1, 3)])
def test_against_numpy_up_to_the_sign_of_eigenvectors(window) -> None:
  size = window[0] * window[1] * 3
  kernel = np.asarray(whitening_kernel(SMOOTH, window, 2 * size, 5e-4), np.float64)
  assert kernel.shape == (*window, 3, 2 * size)
  filters = kernel.reshape(size, 2 * size)
  np.testing.assert_array_equal(filters[:, size:], -filters[:, :size])
  rows = patches(SMOOTH, *window).astype(np.float64)
  moment = rows.T @ rows / len(rows)  # not centered
  eigenvalues, vectors = np.linalg.eigh(moment)
  expected = (vectors / np.sqrt(eigenvalues + 5e-4))[:, ::-1]
  signs = np.sign(np.sum(expected * filters[:, :size], axis=0))
  # The smallest eigenvalues are 1e-4 of the largest; float32 knows them to 1e-3 of themselves.
  np.testing.assert_allclose(filters[:, :size], signs * expected, rtol=0.01, atol=0.01)


def test_responses_are_uncorrelated_and_of_equal_size() -> None:
  kernel = whitening_kernel(SMOOTH, (2, 2), 24, 0.0)
  layer = Conv(24, 2, padding='VALID', use_bias=False)
  responses = np.asarray(layer.apply({'params': {'kernel': kernel}}, SMOOTH)).reshape(-1, 24)
  moment = responses[:, :12].T @ responses[:, :12] / len(responses)
  np.testing.assert_allclose(moment, np.eye(12), atol=5e-3)


def test_fewer_filters_are_those_of_the_largest_eigenvalues() -> None:
  few, all_ = (whitening_kernel(SMOOTH, (2, 2), count, 5e-4) for count in (8, 24))
  np.testing.assert_array_equal(few[..., :4], all_[..., :4])
  np.testing.assert_array_equal(few[..., 4:], all_[..., 12:16])


def whiten(params, images, layer='Group_0/first'):
  section = ConfigDict({'layer': layer, 'images': 10, 'epsilon': 5e-4})
  function = make_whitening(section, make_normalize((0.5,), (0.25,)))
  return function(params, images)


def test_only_the_kernel_of_the_layer_changes() -> None:
  images = GENERATOR.integers(0, 256, (10, 6, 6, 3), dtype=np.uint8)
  params = {
    'Group_0': {'first': {'kernel': jnp.zeros((2, 2, 3, 24)), 'bias': jnp.ones(24)}},
    'logits': {'kernel': jnp.ones((4, 2))},
  }
  whitened = jax.jit(whiten)(params, images)
  normalized = (images.astype(np.float32) / 255 - 0.5) / 0.25
  expected = whitening_kernel(normalized, (2, 2), 24, 5e-4)
  # By its products, since an eigenvector's sign is free.
  found = whitened['Group_0']['first'].pop('kernel').reshape(12, 24)
  expected = expected.reshape(12, 24)
  np.testing.assert_allclose(found @ found.T, expected @ expected.T, rtol=1e-3, atol=1e-3)
  del params['Group_0']['first']['kernel']
  jax.tree.map(np.testing.assert_array_equal, whitened, params)


@pytest.mark.parametrize(
  ('layer', 'message'),
  [
    ('Group_0/frist', r'layer=Group_0/frist is no convolution.*it has Group_0/first, odd, big'),
    ('logits', 'layer=logits is no convolution'),
    ('odd', 'even number of filters, at most 24; this one has 7'),
    ('big', 'at most 24; this one has 26'),
    ('Group_0/first/kernel', 'is no convolution'),
  ],
)
def test_mistakes_name_the_flag(layer, message) -> None:
  params = {
    'Group_0': {'first': {'kernel': jnp.zeros((2, 2, 3, 24))}},
    'odd': {'kernel': jnp.zeros((2, 2, 3, 7))},
    'big': {'kernel': jnp.zeros((2, 2, 3, 26))},
    'logits': {'kernel': jnp.ones((4, 2))},
  }
  with pytest.raises(UserError, match=message):
    whiten(params, np.zeros((2, 6, 6, 3), np.uint8), layer)


def test_nothing_asked_for_is_nothing_done() -> None:
  assert make_whitening(ConfigDict({'layer': ''}), make_normalize((0.0,), (1.0,))) is None
