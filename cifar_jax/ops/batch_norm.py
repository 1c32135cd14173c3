"""Normalization by the statistics of a batch."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from cifar_jax.ops.dispatch import target_platform, use_cpu_kernels
from cifar_jax.utils.array_types import PerChannel, Rows

Normalized = tuple[Rows, PerChannel, PerChannel]  # outputs, mean, biased variance
_Kept = tuple[Rows, PerChannel, PerChannel, PerChannel]


def normalize_by_batch(
  inputs: Rows, scale: PerChannel, bias: PerChannel, epsilon: float, expected: PerChannel
) -> Normalized:
  """Returns (x - mean) / sqrt(variance + epsilon) * scale + bias, with the mean and variance.

  Both are taken over all axes but the last; the variance is biased, and accurate however far from
  zero the mean is; on TPU, however far from zero `expected` is, if the mean is near it.

  Args:
    inputs: The batch.
    scale: The learned factor.
    bias: The learned offset.
    epsilon: What is added to the variance.
    expected: About what the mean will be, float32 [C].
  """
  if target_platform() == 'tpu':
    return one_pass_normalize(inputs, scale, bias, epsilon, expected)
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


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def one_pass_normalize(
  inputs: Rows, scale: PerChannel, bias: PerChannel, epsilon: float, expected: PerChannel
) -> Normalized:
  """Normalizes by the batch, both sums being taken in one pass: devices add them up at once.

  The gradient is that of `fused_normalize`, whose two sums are added up at once as well.
  """
  mean, variance = _one_pass_statistics(inputs, expected)
  return normalize_by(inputs, mean, variance, scale, bias, epsilon), mean, variance


def _one_pass_forward(
  inputs: Rows, scale: PerChannel, bias: PerChannel, epsilon: float, expected: PerChannel
) -> tuple[Normalized, _Kept]:
  found = one_pass_normalize(inputs, scale, bias, epsilon, expected)
  return found, (inputs, found[1], lax.rsqrt(found[2] + epsilon), scale)


def _one_pass_backward(
  epsilon: float, residuals: _Kept, gradients: Normalized
) -> tuple[Rows, PerChannel, PerChannel, PerChannel]:
  return *_backward(epsilon, residuals, gradients), jnp.zeros_like(residuals[1])


one_pass_normalize.defvjp(_one_pass_forward, _one_pass_backward)


def _one_pass_statistics(inputs: jax.Array, expected: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns the mean and the biased variance [C], both from sums about `expected`."""
  axes = tuple(range(inputs.ndim - 1))
  shifted = inputs - on_last_axis(expected, inputs.ndim)
  offset, square = jnp.mean(shifted, axes), jnp.mean(jnp.square(shifted), axes)
  return expected + offset, jnp.maximum(square - jnp.square(offset), 0)


def _statistics(inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
  """Returns the mean and the biased variance [C] over all axes but the last."""
  axes = tuple(range(inputs.ndim - 1))
  mean = jnp.mean(inputs, axes)
  return mean, jnp.mean(jnp.square(inputs - on_last_axis(mean, inputs.ndim)), axes)
