import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifar_jax import layers


def drop(rate: float, inputs: jax.Array, seed: int = 0) -> np.ndarray:
  dropout = layers.Dropout(rate, deterministic=False)
  return np.asarray(dropout.apply({}, inputs, rngs={'dropout': jax.random.key(seed)}))


@pytest.mark.parametrize('rate', [0.1, 0.25, 0.5, 0.8])
def test_rate_is_the_fraction_dropped_and_the_rest_is_scaled(rate: float):
  result = drop(rate, jnp.full((400, 500), 3.0))
  kept = result != 0
  np.testing.assert_allclose(result[kept], 3 / (1 - rate), rtol=1e-6)
  # Six standard deviations of a binomial fraction of 200,000; 1/256 for implementations that
  # quantize the rate.
  deviation = np.sqrt(rate * (1 - rate) / result.size)
  assert abs((1 - kept.mean()) - rate) < 6 * deviation + 1 / 512
  np.testing.assert_allclose(result.mean(), 3, rtol=0.03)


def test_elements_are_independent():
  """No row, column or neighbor tells about another: covariances within six standard deviations."""
  kept = (drop(0.5, jnp.ones((256, 256))) != 0).astype(float) - 0.5
  for first, second in [
    (kept[1:], kept[:-1]),
    (kept[:, 1:], kept[:, :-1]),
    (kept[:, 4:], kept[:, :-4]),
    (kept[128:], kept[:128]),
  ]:
    assert abs((first * second).mean()) < 6 * 0.25 / np.sqrt(first.size)


def test_keys_decide():
  ones = jnp.ones((8, 8))
  np.testing.assert_array_equal(drop(0.5, ones, 1), drop(0.5, ones, 1))
  assert not np.array_equal(drop(0.5, ones, 1), drop(0.5, ones, 2))


def test_gradient_is_that_of_the_kept():
  inputs = jnp.full((50,), 2.0)
  key = {'dropout': jax.random.key(0)}
  dropout = layers.Dropout(0.5)
  result, gradient = jax.value_and_grad(
    lambda x: jnp.sum(dropout.apply({}, x, deterministic=False, rngs=key))
  )(inputs)
  assert set(np.unique(gradient)) == {0, 2}
  np.testing.assert_allclose(result, 2 * gradient.sum())


def test_off_in_inference_and_at_the_ends():
  inputs = jnp.arange(10.0)
  np.testing.assert_array_equal(layers.Dropout(0.5, deterministic=True).apply({}, inputs), inputs)
  np.testing.assert_array_equal(drop(0.0, inputs), inputs)
  np.testing.assert_array_equal(drop(1.0, inputs), np.zeros(10))
  assert drop(0.5, inputs.astype(jnp.bfloat16)).dtype == jnp.bfloat16


def test_branches_are_dropped_whole_and_scaled():
  branch = jnp.ones((4000, 2, 3))
  layer = layers.DropPath(0.25)
  kept = layer.apply({}, branch, False, rngs={'dropout': jax.random.key(0)})
  first = np.asarray(kept[:, :1, :1])
  assert np.array_equal(kept, np.broadcast_to(first, kept.shape))  # an example is one decision
  assert set(np.unique(first)) == {np.float32(0), np.float32(4 / 3)}
  assert abs(np.mean(first == 0) - 0.25) < 0.03  # four standard deviations
  assert np.array_equal(layer.apply({}, branch, True), branch)
  assert np.array_equal(layers.DropPath(0.0).apply({}, branch, False), branch)


def test_rates_rise_in_a_line():
  np.testing.assert_allclose(layers.linear_drop_path_rates(0.3, 4), [0, 0.1, 0.2, 0.3])
  assert layers.linear_drop_path_rates(0.3, 1) == [0]
