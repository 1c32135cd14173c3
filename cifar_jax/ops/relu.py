"""The rectified linear unit."""

import jax
import jax.numpy as jnp

from cifar_jax.ops.forms import use_cpu_forms


def relu(inputs: jax.Array) -> jax.Array:
  """max(x, 0) of an array of any shape, with gradient 0 at 0."""
  return selected_relu(inputs) if use_cpu_forms() else plain_relu(inputs)


def plain_relu(inputs: jax.Array) -> jax.Array:
  """The same as a maximum."""
  return jax.nn.relu(inputs)


def selected_relu(inputs: jax.Array) -> jax.Array:
  """The same as a choice between 0 and x, by which NaN remains NaN.

  Under the flags of `cifar_jax.startup`, XLA writes out a whole array of zeros for the maximum to
  compare with; a choice is computed in one loop.
  """
  return jnp.where(inputs <= 0, 0, inputs)
