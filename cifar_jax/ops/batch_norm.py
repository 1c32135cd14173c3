"""Normalization by the statistics of a batch."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from cifar_jax.ops.dispatch import use_cpu_kernels
from cifar_jax.utils.array_types import PerChannel, Rows

Normalized = tuple[Rows, PerChannel, PerChannel]  # outputs, mean, biased variance
_Kept = tuple[Rows, PerChannel, PerChannel, PerChannel]


def normalize_by_batch(
  inputs: Rows, scale: PerChannel, bias: PerChannel, epsilon: float
) -> Normalized:
  """Returns (x - mean) / sqrt(variance + epsilon) * scale + bias, with the mean and variance.

  Both are taken over all axes but the last; the variance is biased, and accurate however far from
  zero the mean is.

  Args:
    inputs: The batch.
    scale: The learned factor.
    bias: The learned offset.
    epsilon: What is added to the variance.
  """
  choose = fused_normalize if use_cpu_kernels() else reference_normalize
  return choose(inputs, scale, bias, epsilon)


def reference_normalize(
  inputs: Rows, scale: PerChannel, bias: PerChannel, epsilon: float
) -> Normalized:
  """Normalizes by the batch as JAX derives the gradient."""
  mean, variance = _statistics(inputs)
  return normalize_by(inputs, mean, variance, scale, bias, epsilon), mean, variance


def normalize_by(
  inputs: Rows,
  mean: PerChannel,
  variance: PerChannel,
  scale: PerChannel,
  bias: PerChannel,
  epsilon: float,
) -> Rows:
  """Centers and scales by given statistics."""
  factor = lax.rsqrt(variance + epsilon) * scale
  rank = inputs.ndim
  centered = inputs - on_last_axis(mean, rank)
  return centered * on_last_axis(factor, rank) + on_last_axis(bias, rank)


def on_last_axis(channels: jax.Array, rank: int) -> jax.Array:
  """Shapes [C] as [1, ..., 1, C]: nothing here relies on implicit rank promotion."""
  return channels.reshape((1,) * (rank - 1) + (-1,))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def fused_normalize(
  inputs: Rows, scale: PerChannel, bias: PerChannel, epsilon: float
) -> Normalized:
  """Normalizes by the batch, the gradient being simplified by hand: two sums, one pass over maps.

  The derived gradient passes through the mean and the variance separately, each time over whole
  maps, and keeps intermediate maps for it.
  """
  return reference_normalize(inputs, scale, bias, epsilon)


def _forward(
  inputs: Rows, scale: PerChannel, bias: PerChannel, epsilon: float
) -> tuple[Normalized, _Kept]:
  outputs, mean, variance = reference_normalize(inputs, scale, bias, epsilon)
  return (outputs, mean, variance), (inputs, mean, lax.rsqrt(variance + epsilon), scale)


def _backward(
  epsilon: float, residuals: _Kept, gradients: Normalized
) -> tuple[Rows, PerChannel, PerChannel]:
  del epsilon
  inputs, mean, inverse_deviation, scale = residuals
  of_outputs, of_mean, of_variance = gradients
  rank, axes = inputs.ndim, tuple(range(inputs.ndim - 1))
  count = inputs.size // inputs.shape[-1]
  centered = inputs - on_last_axis(mean, rank)
  of_bias = jnp.sum(of_outputs, axes)
  of_scale = jnp.sum(of_outputs * centered, axes) * inverse_deviation
  # Ioffe and Szegedy (2015), section 3, with the terms gathered by what they multiply.
  factor = scale * inverse_deviation
  slope = (2 * of_variance - factor * inverse_deviation * of_scale) / count
  offset = (of_mean - factor * of_bias) / count
  of_inputs = (
    of_outputs * on_last_axis(factor, rank)
    + centered * on_last_axis(slope, rank)
    + on_last_axis(offset, rank)
  )
  return of_inputs, of_scale, of_bias


fused_normalize.defvjp(_forward, _backward)


def _statistics(inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns the mean and the biased variance [C] over all axes but the last."""
  axes = tuple(range(inputs.ndim - 1))
  mean = jnp.mean(inputs, axes)
  return mean, jnp.mean(jnp.square(inputs - on_last_axis(mean, inputs.ndim)), axes)
