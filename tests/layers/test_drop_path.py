import jax
import jax.numpy as jnp
import numpy as np

from cifar_jax.layers import DropPath, rising_rates


def test_branches_are_dropped_whole_and_scaled():
  branch = jnp.ones((4000, 2, 3))
  layer = DropPath(0.25)
  kept = layer.apply({}, branch, False, rngs={'dropout': jax.random.key(0)})
  first = np.asarray(kept[:, :1, :1])
  assert np.array_equal(kept, np.broadcast_to(first, kept.shape))  # an example is one decision
  assert set(np.unique(first)) == {np.float32(0), np.float32(4 / 3)}
  assert abs(np.mean(first == 0) - 0.25) < 0.03  # four standard deviations
  assert np.array_equal(layer.apply({}, branch, True), branch)
  assert np.array_equal(DropPath(0.0).apply({}, branch, False), branch)


def test_rates_rise_in_a_line():
  np.testing.assert_allclose(rising_rates(0.3, 4), [0, 0.1, 0.2, 0.3])
  assert rising_rates(0.3, 1) == [0]
