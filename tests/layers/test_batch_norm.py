import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifar_jax import layers
from cifar_jax.layers.batch_axis import BatchAxis, batch_axis_context
from cifar_jax.ops.dispatch import for_platform

RNG = np.random.default_rng(0)
PLATFORMS = pytest.mark.parametrize('platform', ['cpu', 'tpu'])


def keras_rule(batches, scale, bias, momentum=0.99, epsilon=1e-3):
  """Keras 2.0.8 and 2.1.2 in float64: biased variance of the batch, also in the moving average."""
  channels = batches[0].shape[-1]
  moving_mean, moving_var = np.zeros(channels), np.ones(channels)
  outputs = []
  for batch in batches:
    flat = batch.reshape(-1, channels).astype(np.float64)
    mean = flat.sum(0) / len(flat)
    var = ((flat - mean) ** 2).sum(0) / len(flat)
    outputs.append((batch - mean) / np.sqrt(var + epsilon) * scale + bias)
    moving_mean = moving_mean * momentum + mean * (1 - momentum)
    moving_var = moving_var * momentum + var * (1 - momentum)
  last = (batches[-1] - moving_mean) / np.sqrt(moving_var + epsilon) * scale + bias
  return outputs, moving_mean, moving_var, last


def variables(channels: int):
  params = {
    'scale': jnp.asarray(RNG.normal(size=channels), jnp.float32),
    'bias': jnp.asarray(RNG.normal(size=channels), jnp.float32),
  }
  return {
    'params': params,
    'batch_stats': {'mean': jnp.zeros(channels), 'var': jnp.ones(channels)},
  }


@pytest.mark.parametrize('shape', [(6, 5, 4, 3), (8, 7)])
def test_three_batches_by_the_rule_of_keras(shape):
  batches = [RNG.normal(2, 3, size=shape).astype(np.float32) for _ in range(3)]
  state = variables(shape[-1])
  outputs, mean, var, inference = keras_rule(
    batches, np.asarray(state['params']['scale']), np.asarray(state['params']['bias'])
  )
  norm = layers.BatchNorm()
  for batch, expected in zip(batches, outputs, strict=True):
    result, changed = norm.apply(state, batch, use_running_average=False, mutable=['batch_stats'])
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
    state = {**state, **changed}
  np.testing.assert_allclose(state['batch_stats']['mean'], mean, rtol=1e-5)
  np.testing.assert_allclose(state['batch_stats']['var'], var, rtol=1e-5)
  result = norm.apply(state, batches[-1], use_running_average=True)
  np.testing.assert_allclose(result, inference, rtol=1e-4, atol=1e-5)


def test_mean_far_from_zero_keeps_its_variance():
  """1,000 +- 1: the mean of squares minus the square of the mean would lose it in float32."""
  batch = RNG.normal(1000, 1, size=(64, 4, 4, 2)).astype(np.float32)
  _, changed = layers.BatchNorm(momentum=0.0).apply(
    variables(2), batch, use_running_average=False, mutable=['batch_stats']
  )
  expected = batch.astype(np.float64).var((0, 1, 2))
  np.testing.assert_allclose(changed['batch_stats']['var'], expected, rtol=1e-3)


@PLATFORMS
def test_mask_leaves_only_the_rows_that_count(platform):
  batch = RNG.normal(size=(5, 3, 3, 2)).astype(np.float32)
  batch[3:] = np.nan
  mask = jnp.array([True, True, True, False, False])
  state = variables(2)
  norm = layers.BatchNorm()
  result, changed = for_platform(norm.apply, platform)(
    state, batch, use_running_average=False, mask=mask, mutable=['batch_stats']
  )
  outputs, mean, var, _ = keras_rule(
    [batch[:3]], np.asarray(state['params']['scale']), np.asarray(state['params']['bias'])
  )
  np.testing.assert_allclose(result[:3], outputs[0], rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(changed['batch_stats']['mean'], mean, rtol=1e-5, atol=1e-8)
  np.testing.assert_allclose(changed['batch_stats']['var'], var, rtol=1e-5)


@PLATFORMS
def test_gradient_of_masked_rows_is_finite_and_zero(platform):
  batch = RNG.normal(size=(4, 2)).astype(np.float32)
  mask = jnp.array([True, True, True, False])
  state = variables(2)

  @jax.jit
  def loss(inputs):
    outputs, _ = for_platform(layers.BatchNorm().apply, platform)(
      state, inputs, use_running_average=False, mask=mask, mutable=['batch_stats']
    )
    return jnp.sum(jnp.where(mask[:, None], outputs, 0) ** 3)

  gradient = jax.grad(loss)(batch)
  assert np.all(gradient[3] == 0)
  expected = jax.grad(lambda rows: loss(jnp.concatenate([rows, batch[3:]])))(batch[:3])
  np.testing.assert_allclose(gradient[:3], expected, rtol=1e-5)
  # A central difference along one direction, as a check that uses no autodiff.
  direction, step = RNG.normal(size=(4, 2)).astype(np.float32), 1e-2
  slope = (loss(batch + step * direction) - loss(batch - step * direction)) / (2 * step)
  np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=2e-2)


def test_same_as_flax_under_the_same_settings():
  batch = RNG.normal(size=(6, 3, 3, 4)).astype(np.float32)
  state = variables(4)
  arguments = {'use_running_average': False, 'mutable': ['batch_stats']}
  ours = layers.BatchNorm(momentum=0.9, epsilon=1e-5).apply(state, batch, **arguments)
  flax = nn.BatchNorm(momentum=0.9, epsilon=1e-5).apply(state, batch, **arguments)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), ours, flax)


def test_bfloat16_inputs_have_float32_statistics():
  batch = jnp.asarray(RNG.normal(3, 1, size=(64, 8, 8, 2)), jnp.bfloat16)
  norm = layers.BatchNorm(momentum=0.0, use_running_average=False)
  state = norm.init(jax.random.key(0), batch)
  result, changed = norm.apply(state, batch, mutable=['batch_stats'])
  assert result.dtype == jnp.bfloat16
  exact = np.asarray(batch, np.float64)
  np.testing.assert_allclose(changed['batch_stats']['mean'], exact.mean((0, 1, 2)), rtol=1e-5)
  np.testing.assert_allclose(changed['batch_stats']['var'], exact.var((0, 1, 2)), rtol=1e-4)


@PLATFORMS
def test_statistics_are_shared_over_a_mapped_axis(platform):
  """Two shards with different numbers of rows that count act as one batch of those rows."""
  batch = RNG.normal(size=(2, 3, 2, 2, 2)).astype(np.float32)
  mask = jnp.array([[True, True, True], [True, False, False]])
  state = variables(2)
  norm = layers.BatchNorm(use_running_average=False)

  def run(inputs, mask):
    with batch_axis_context(BatchAxis('shards', 2)):
      return for_platform(norm.apply, platform)(state, inputs, mask=mask, mutable=['batch_stats'])

  result, changed = jax.vmap(run, axis_name='shards')(batch, mask)
  rows = batch.reshape(6, 2, 2, 2)[[0, 1, 2, 3]]
  outputs, mean, var, _ = keras_rule(
    [rows], np.asarray(state['params']['scale']), np.asarray(state['params']['bias'])
  )
  np.testing.assert_allclose(
    np.asarray(result).reshape(6, 2, 2, 2)[:4], outputs[0], rtol=1e-4, atol=1e-5
  )
  for shard in range(2):
    np.testing.assert_allclose(changed['batch_stats']['mean'][shard], mean, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(changed['batch_stats']['var'][shard], var, rtol=1e-5)


def test_init_leaves_fresh_statistics():
  """Though the step's axis is not bound where a network is initialized."""
  with batch_axis_context(BatchAxis('shards', 2)):
    state = layers.BatchNorm().init(
      jax.random.key(0), jnp.full((4, 3), 5.0), use_running_average=False
    )
  np.testing.assert_array_equal(state['batch_stats']['mean'], np.zeros(3))
  np.testing.assert_array_equal(state['batch_stats']['var'], np.ones(3))
