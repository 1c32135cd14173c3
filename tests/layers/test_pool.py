import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifar_jax import layers
from cifar_jax.utils.errors import UserError

RNG = np.random.default_rng(0)


def windows(images, window, stride, same):
  """Yields the output's row and column and the images under the window, cut at the border."""
  sizes, starts = [], []
  for size in images.shape[1:3]:
    out = -(-size // stride) if same else (size - window) // stride + 1
    before = max((out - 1) * stride + window - size, 0) // 2 if same else 0
    sizes.append(size)
    starts.append([i * stride - before for i in range(out)])
  for i, top in enumerate(starts[0]):
    for j, left in enumerate(starts[1]):
      yield i, j, images[:, max(top, 0) : top + window, max(left, 0) : left + window]


def pool(images, window, stride, same, reduce):
  parts = list(windows(images, window, stride, same))
  height, width = parts[-1][0] + 1, parts[-1][1] + 1
  outputs = np.zeros((len(images), height, width, images.shape[-1]))
  for i, j, part in parts:
    outputs[:, i, j] = reduce(part, axis=(1, 2))
  return outputs


@pytest.mark.parametrize(
  ('layer', 'reduce'), [(layers.MaxPool, np.max), (layers.AveragePool, np.mean)]
)
@pytest.mark.parametrize('height', [5, 6, 7])
@pytest.mark.parametrize(('window', 'stride'), [(2, None), (3, None), (3, 2), (2, 1)])
@pytest.mark.parametrize('padding', ['VALID', 'SAME'])
def test_against_loops(layer, reduce, height, window, stride, padding):
  # All negative, so that a pool that lets the padding win is found out.
  images = RNG.uniform(-2, -1, size=(2, height, 6, 3)).astype(np.float32)
  result = layer(window, stride, padding).apply({}, images)
  expected = pool(images, window, stride or window, padding == 'SAME', reduce)
  np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_gradient_of_max_pool_goes_to_the_maximum():
  images = RNG.permutation(5 * 5 * 2).reshape(1, 5, 5, 2).astype(np.float32)
  weights = RNG.normal(size=(1, 2, 2, 2)).astype(np.float32)
  gradient = jax.grad(lambda x: jnp.sum(weights * layers.MaxPool().apply({}, x)))(images)
  expected = np.zeros_like(images)
  for i, j, part in windows(images, 2, 2, same=False):
    for c in range(2):
      row, column = np.unravel_index(part[0, :, :, c].argmax(), (2, 2))
      expected[0, 2 * i + row, 2 * j + column, c] = weights[0, i, j, c]
  np.testing.assert_array_equal(gradient, expected)


def test_global_average():
  images = RNG.normal(size=(2, 3, 5, 4)).astype(np.float32)
  result = layers.GlobalAveragePool().apply({}, images)
  np.testing.assert_allclose(result, images.mean((1, 2)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('layer', [layers.MaxPool, layers.AveragePool])
def test_maps_smaller_than_the_window_are_named(layer):
  with pytest.raises(UserError, match=re.escape('does not fit into a map of 1x4')):
    layer().apply({}, jnp.zeros((1, 1, 4, 1)))
  assert layer(padding='SAME').apply({}, jnp.zeros((1, 1, 4, 1))).shape == (1, 1, 2, 1)
