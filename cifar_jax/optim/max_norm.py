"""A bound on the weights that lead to each unit, kept after every update, as Keras's `max_norm`."""

import jax
import jax.numpy as jnp
import optax

from cifar_jax.utils.array_types import UnitWeights

_KERAS_EPSILON = 1e-7


def project(kernel: UnitWeights, limit: float) -> UnitWeights:
  """Scales the weights of each unit, or filter, whose norm is above `limit` down to it.

  w <- w clip(|w|, 0, limit) / (|w| + 1e-7), |w| the root of the sum of squares over all axes but
  the last. For a dense kernel this is Keras's `max_norm(limit)`, for that of a convolution
  `max_norm(limit, axis=(0, 1, 2))`; Keras's own default there, `axis=0`, bounds single columns of
  the window.

  Args:
    kernel: The weights, those of a unit over all axes but the last.
    limit: The largest norm, above 0.
  """
  norm = jnp.sqrt(jnp.sum(jnp.square(kernel), axis=tuple(range(kernel.ndim - 1)), keepdims=True))
  return kernel * (jnp.minimum(norm, limit) / (norm + _KERAS_EPSILON))


def keep_max_norm(limit: float) -> optax.GradientTransformation:
  """The last link of a chain: changes updates so that kernels end within `limit`; see `project`.

  Arrays of rank 0 and 1, biases and scales, are left alone.
  """

  def bounded(update: jax.Array, param: jax.Array) -> jax.Array:
    return update if param.ndim < 2 else project(param + update, limit) - param

  return optax.stateless(lambda updates, params: jax.tree.map(bounded, updates, params))
