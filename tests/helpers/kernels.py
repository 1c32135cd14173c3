"""Compares two forms of an operation."""

import jax
import jax.numpy as jnp
import numpy as np

RNG = np.random.default_rng(0)
FIRST_STATE = RNG.bit_generator.state


def normal(*shape: int) -> jax.Array:
  return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def assert_same_function(form, plain, *inputs):
  """Values and the gradients by all inputs agree to 1e-5 of the largest, for a random cotangent."""
  values, pull_back = jax.vjp(form, *inputs)
  plain_values, plain_pull_back = jax.vjp(plain, *inputs)
  cotangent = jax.tree.map(lambda value: normal(*value.shape), values)
  pairs = zip(
    jax.tree.leaves((values, pull_back(cotangent))),
    jax.tree.leaves((plain_values, plain_pull_back(cotangent))),
    strict=True,
  )
  for actual, expected in pairs:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
