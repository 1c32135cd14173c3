import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifar_jax import layers
from cifar_jax.utils.errors import UserError

RNG = np.random.default_rng(0)


def convolve(images, kernel, bias, stride=1, dilation=1, same=False):
  """Loops over the outputs; 'same' puts the odd line of padding at the end, as TensorFlow does."""
  kh, kw = kernel.shape[:2]
  reach = [(size - 1) * dilation + 1 for size in (kh, kw)]
  if same:
    pads = []
    for size, window in zip(images.shape[1:3], reach, strict=True):
      out = -(-size // stride)
      total = max((out - 1) * stride + window - size, 0)
      pads.append((total // 2, total - total // 2))
    images = np.pad(images, ((0, 0), *pads, (0, 0)))
  height, width = ((images.shape[i + 1] - reach[i]) // stride + 1 for i in range(2))
  outputs = np.zeros((len(images), height, width, kernel.shape[-1]))
  for i in range(height):
    for j in range(width):
      rows = slice(i * stride, i * stride + reach[0], dilation)
      columns = slice(j * stride, j * stride + reach[1], dilation)
      outputs[:, i, j] = np.einsum('bhwc,hwco->bo', images[:, rows, columns], kernel) + bias
  return outputs


@pytest.mark.parametrize('size', [7, 8])
@pytest.mark.parametrize('kernel_size', [(3, 3), (1, 1), (5, 2)])
@pytest.mark.parametrize(
  ('stride', 'dilation', 'padding'),
  [(1, 1, 'SAME'), (1, 1, 'VALID'), (2, 1, 'SAME'), (1, 2, 'SAME')],
)
def test_against_loops(size, kernel_size, stride, dilation, padding):
  images = RNG.normal(size=(2, size, size + 1, 3)).astype(np.float32)
  kernel = RNG.normal(size=(*kernel_size, 3, 4)).astype(np.float32)
  bias = RNG.normal(size=4).astype(np.float32)
  conv = layers.Conv(4, kernel_size, stride, padding, dilation)
  result = conv.apply({'params': {'kernel': kernel, 'bias': bias}}, images)
  expected = convolve(images, kernel, bias, stride, dilation, padding == 'SAME')
  np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_activation_comes_after_the_bias():
  params = {'kernel': jnp.ones((1, 1, 1, 1)), 'bias': jnp.array([-1.0])}
  conv = layers.Conv(1, 1, activation='relu')
  result = conv.apply({'params': params}, jnp.array([0.5, 3.0]).reshape(1, 2, 1, 1))
  np.testing.assert_array_equal(result.reshape(-1), [0, 2])


def test_takes_the_parameters_of_flax():
  images = jnp.asarray(RNG.normal(size=(2, 6, 6, 4)), jnp.float32)
  fields = {'features': 8, 'kernel_size': (3, 3), 'feature_group_count': 2, 'use_bias': False}
  variables = nn.Conv(**fields).init(jax.random.key(0), images)
  np.testing.assert_allclose(
    layers.Conv(**fields).apply(variables, images),
    nn.Conv(**fields).apply(variables, images),
    rtol=1e-6,
  )


def test_kernel_is_glorot_uniform():
  """Keras: limit sqrt(6 / (fan_in + fan_out)), with the area of the window in both fans; bias 0."""
  params = layers.Conv(96, (3, 3)).init(jax.random.key(0), jnp.zeros((1, 8, 8, 64)))['params']
  limit = np.sqrt(6 / (9 * 64 + 9 * 96))
  kernel = np.asarray(params['kernel'])
  assert kernel.dtype == np.float32
  assert 0.999 * limit < np.abs(kernel).max() <= limit
  np.testing.assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.01)
  np.testing.assert_array_equal(params['bias'], np.zeros(96))


def test_windows_that_do_not_fit_are_named():
  for padding, message in [('VALID', 'a map of 2x9'), (((0, 0), (1, 1)), 'a map of 2x11')]:
    conv = layers.Conv(1, 3, padding=padding)
    with pytest.raises(UserError, match=re.escape(message)):
      conv.init(jax.random.key(0), jnp.zeros((1, 2, 9, 1)))
  with pytest.raises(UserError, match='needs maps'):
    layers.Conv(1).init(jax.random.key(0), jnp.zeros((1, 9)))
