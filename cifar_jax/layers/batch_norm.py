"""Batch normalisation."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from cifar_jax.layers.batch_axis import current_batch_axis
from cifar_jax.ops.batch_norm import normalize_by_batch


class BatchNorm(nn.Module):
  """Batch normalisation (Ioffe and Szegedy, 2015) over all axes but the last, as in Keras 2.0.

  Both variances, that of the batch and that put into the moving average, are biased (divided by the
  number of values, not by one less), as in Flax and in Keras 2.0.8 to 2.1.2; PyTorch corrects the
  moving one. Statistics are float32.

  Attributes:
    use_running_average: True normalises by the moving averages; may be given to the call instead.
    momentum: share of the old value in the moving averages.
    epsilon: added to the variance.
    dtype: dtype of the outputs; None means that of the inputs. Parameters and averages are float32.
    use_bias: whether a learned 'bias' is added.
    use_scale: whether a learned 'scale' multiplies.
    scale_init: initialiser of 'scale' [C].
    bias_init: initialiser of 'bias' [C].
    axis_name: name of a mapped axis (`jax.pmap`) whose devices share the statistics; None takes
      that of the step (`division.rows_seen`). Under `jax.jit` over a mesh they are global anyway.
  """

  use_running_average: bool | None = None
  momentum: float = 0.99
  epsilon: float = 1e-3
  dtype: Any = None
  use_bias: bool = True
  use_scale: bool = True
  scale_init: nn.initializers.Initializer = nn.initializers.ones_init()
  bias_init: nn.initializers.Initializer = nn.initializers.zeros_init()
  axis_name: str | None = None

  @nn.compact
  def __call__(
    self,
    inputs: jax.Array,
    use_running_average: bool | None = None,
    mask: jax.Array | None = None,
  ) -> jax.Array:
    """Normalises [B, ..., C]; the collection 'batch_stats' holds 'mean' and 'var' [C].

    Args:
      inputs: the batch.
      use_running_average: see the attribute.
      mask: bool [B]; rows where it is False have no part in the statistics.
    """
    use_running_average = nn.merge_param(
      'use_running_average', self.use_running_average, use_running_average
    )
    channels = inputs.shape[-1]
    moving_mean = self.variable('batch_stats', 'mean', jnp.zeros, (channels,), jnp.float32)
    moving_var = self.variable('batch_stats', 'var', jnp.ones, (channels,), jnp.float32)

    scale, bias = jnp.ones(channels), jnp.zeros(channels)
    if self.use_scale:
      scale = self.param('scale', self.scale_init, (channels,))
    if self.use_bias:
      bias = self.param('bias', self.bias_init, (channels,))

    values = inputs.astype(jnp.float32)
    if use_running_average:
      mean, var = moving_mean.value, moving_var.value
      outputs = _normalize(values, mean, var, scale, bias, self.epsilon)
    else:
      seen = current_batch_axis()
      # init() runs outside of the mapped axis.
      axis_name = None if self.is_initializing() else self.axis_name or seen.axis
      if seen.ghost_rows and not self.is_initializing():
        outputs, mean, var = normalize_by_ghost_batches(
          values, mask, scale, bias, self.epsilon, seen.ghost_rows, axis_name
        )
      elif mask is None and axis_name is None:
        outputs, mean, var = normalize_by_batch(values, scale, bias, self.epsilon)
      else:
        mean, var = batch_statistics(values, mask, axis_name)
        outputs = _normalize(values, mean, var, scale, bias, self.epsilon)
      if not self.is_initializing():
        moving_mean.value = self.momentum * moving_mean.value + (1 - self.momentum) * mean
        moving_var.value = self.momentum * moving_var.value + (1 - self.momentum) * var
    return outputs.astype(self.dtype or inputs.dtype)


def _normalize(
  values: jax.Array,
  mean: jax.Array,
  var: jax.Array,
  scale: jax.Array,
  bias: jax.Array,
  epsilon: float,
) -> jax.Array:
  """Centres [B, ..., C] and scales it by given statistics [C]."""
  factor = lax.rsqrt(var + epsilon) * scale
  rank = values.ndim
  return (values - _last_axis(mean, rank)) * _last_axis(factor, rank) + _last_axis(bias, rank)


def normalize_by_ghost_batches(
  values: jax.Array,
  mask: jax.Array | None,
  scale: jax.Array,
  bias: jax.Array,
  epsilon: float,
  rows: int,
  axis_name: str | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Normalises every `rows` successive rows by themselves (Hoffer et al., 2017).

  Returns:
    Outputs, and mean and biased variance [C] for the moving averages: the means of those of the
    parts, weighted by the rows that count in each.
  """
  parts = values.reshape((-1, rows, *values.shape[1:]))
  if mask is None:

    def one(part: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
      return normalize_by_batch(part, scale, bias, epsilon)

    outputs, means, variances = jax.vmap(one)(parts)
    weights = jnp.ones(len(parts))
  else:
    masks = mask.reshape(-1, rows)
    means, variances = jax.vmap(lambda part, kept: batch_statistics(part, kept, None))(parts, masks)
    outputs = jax.vmap(lambda part, mean, var: _normalize(part, mean, var, scale, bias, epsilon))(
      parts, means, variances
    )
    weights = jnp.sum(masks, axis=1, dtype=jnp.float32)

  def total(array: jax.Array) -> jax.Array:
    return array if axis_name is None else lax.psum(array, axis_name)

  count = jnp.maximum(total(jnp.sum(weights)), 1)
  mean, var = (total(weights @ statistics) / count for statistics in (means, variances))
  return outputs.reshape(values.shape), mean, var


def batch_statistics(
  values: jax.Array, mask: jax.Array | None, axis_name: str | None
) -> tuple[jax.Array, jax.Array]:
  """Returns mean and biased variance [C] of [B, ..., C] over the rows that count, in two passes.

  Args:
    values: float32.
    mask: bool [B] or None for all rows.
    axis_name: mapped axis to sum over as well, or None.
  """
  axes = tuple(range(values.ndim - 1))
  positions = values.size // (values.shape[0] * values.shape[-1])
  rows = jnp.float32(values.shape[0]) if mask is None else jnp.sum(mask, dtype=jnp.float32)

  def total(array: jax.Array) -> jax.Array:
    return array if axis_name is None else lax.psum(array, axis_name)

  def sum_of_counted(array: jax.Array) -> jax.Array:
    if mask is not None:
      array = jnp.where(mask.reshape((-1,) + (1,) * (array.ndim - 1)), array, 0)
    return total(jnp.sum(array, axis=axes))

  count = jnp.maximum(total(rows) * positions, 1)  # a batch of padding only must not divide by zero
  mean = sum_of_counted(values) / count
  return mean, sum_of_counted(jnp.square(values - _last_axis(mean, values.ndim))) / count


def _last_axis(channels: jax.Array, rank: int) -> jax.Array:
  """Shapes [C] as [1, ..., 1, C], since implicit rank promotion is refused in the tests."""
  return channels.reshape((1,) * (rank - 1) + (-1,))
