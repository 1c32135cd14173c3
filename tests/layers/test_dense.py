import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cifar_jax import layers


def test_by_hand():
  params = {'kernel': jnp.array([[1.0, 2.0], [3.0, -4.0]]), 'bias': jnp.array([0.5, -0.5])}
  dense = layers.Dense(2, activation='relu')
  np.testing.assert_array_equal(
    dense.apply({'params': params}, jnp.array([[1.0, 2.0]])), [[7.5, 0]]
  )


def test_takes_the_parameters_of_flax():
  inputs = jax.random.normal(jax.random.key(1), (2, 3, 5))
  variables = nn.Dense(4).init(jax.random.key(0), inputs)
  np.testing.assert_allclose(
    layers.Dense(4).apply(variables, inputs), nn.Dense(4).apply(variables, inputs), rtol=1e-6
  )


def test_kernel_is_glorot_uniform():
  params = layers.Dense(300).init(jax.random.key(0), jnp.zeros((1, 500)))['params']
  limit = np.sqrt(6 / 800)
  assert 0.999 * limit < np.abs(params['kernel']).max() <= limit
  np.testing.assert_allclose(np.std(params['kernel']), limit / np.sqrt(3), rtol=0.01)
  np.testing.assert_array_equal(params['bias'], np.zeros(300))


def test_initializer_and_dtype_are_options():
  dense = layers.Dense(3, kernel_init=nn.initializers.ones, dtype=jnp.bfloat16)
  result, variables = dense.init_with_output(jax.random.key(0), jnp.ones((1, 4)))
  assert result.dtype == jnp.bfloat16
  assert variables['params']['kernel'].dtype == jnp.float32
  np.testing.assert_array_equal(np.asarray(result, np.float32), [[4, 4, 4]])


def test_flatten_keeps_rows_first():
  images = jnp.arange(2.0 * 2 * 3 * 2).reshape(2, 2, 3, 2)
  np.testing.assert_array_equal(layers.Flatten().apply({}, images), np.arange(24).reshape(2, 12))
