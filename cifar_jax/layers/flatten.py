"""From maps to vectors."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp


class Flatten(nn.Module):
  """[B, ...] to [B, product of the rest], rows first, as in Keras with channels last."""

  @nn.compact
  def __call__(self, inputs: jax.Array) -> jax.Array:
    """Keeps the batch axis and joins the others."""
    return inputs.reshape(inputs.shape[0], math.prod(inputs.shape[1:]))


class GlobalAveragePool(nn.Module):
  """The mean of each channel: [B, H, W, C] to [B, C]."""

  @nn.compact
  def __call__(self, inputs: jax.Array) -> jax.Array:
    """Averages over height and width; jnp.mean sums bfloat16 in float32."""
    return jnp.mean(inputs, axis=(1, 2))
