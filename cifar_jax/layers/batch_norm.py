"""Batch normalization."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from cifar_jax.layers.batch_axis import current_batch_axis
from cifar_jax.ops.batch_norm import normalize_by, normalize_by_batch, on_last_axis
from cifar_jax.ops.dispatch import target_platform
from cifar_jax.utils.array_types import BatchRows, Mask, PerChannel


class BatchNorm(nn.Module):
  """Batch normalization (Ioffe and Szegedy, 2015) over all axes but the last, as in Keras 2.0.

  Both variances, that of the batch and that put into the running average, are biased (divided by
  the number of values, not by one less), as in Flax and in Keras 2.0.8 to 2.1.2; PyTorch corrects
  the running one. Statistics are float32.

  Attributes:
    use_running_average: True normalizes by the running averages; may be given to the call instead.
    momentum: Share of the old value in the running averages.
    epsilon: What is added to the variance.
    dtype: Dtype of the outputs; None means that of the inputs. Parameters and averages are float32.
    use_bias: Whether a learned 'bias' is added.
    use_scale: Whether a learned 'scale' multiplies.
    scale_init: Initializer of 'scale' [C].
    bias_init: Initializer of 'bias' [C].
  """

  use_running_average: bool | None = None
  momentum: float = 0.99
  epsilon: float = 1e-3
  dtype: Any = None
  use_bias: bool = True
  use_scale: bool = True
  scale_init: nn.initializers.Initializer = nn.initializers.ones_init()
  bias_init: nn.initializers.Initializer = nn.initializers.zeros_init()

  @nn.compact
  def __call__(
    self,
    inputs: BatchRows,
    use_running_average: bool | None = None,
    mask: Mask | None = None,
  ) -> BatchRows:
    """Normalizes a batch; the collection 'batch_stats' holds 'mean' and 'var' of each channel.

    Args:
      inputs: The batch.
      use_running_average: Takes the place of the attribute where that is None.
      mask: Rows where it is False have no part in the statistics.
    """
    use_running_average = nn.merge_param(
      'use_running_average', self.use_running_average, use_running_average
    )
    channels = inputs.shape[-1]
    running_mean = self.variable('batch_stats', 'mean', jnp.zeros, (channels,), jnp.float32)
    running_var = self.variable('batch_stats', 'var', jnp.ones, (channels,), jnp.float32)

    scale, bias = jnp.ones(channels), jnp.zeros(channels)
    if self.use_scale:
      scale = self.param('scale', self.scale_init, (channels,))
    if self.use_bias:
      bias = self.param('bias', self.bias_init, (channels,))

    values = inputs.astype(jnp.float32)
    if use_running_average:
      mean, var = running_mean.value, running_var.value
      outputs = normalize_by(values, mean, var, scale, bias, self.epsilon)
    else:
      seen = current_batch_axis()
      # init() runs outside of the mapped axis.
      axis_name = None if self.is_initializing() else seen.axis
      if seen.ghost_batch_size and not self.is_initializing():
        outputs, mean, var = normalize_by_ghost_batches(
          values,
          mask,
          scale,
          bias,
          self.epsilon,
          seen.ghost_batch_size,
          axis_name,
          running_mean.value,
        )
      elif mask is None and axis_name is None:
        outputs, mean, var = normalize_by_batch(
          values, scale, bias, self.epsilon, running_mean.value
        )
      else:
        mean, var = batch_statistics(values, mask, axis_name, running_mean.value)
        outputs = normalize_by(values, mean, var, scale, bias, self.epsilon)
      if not self.is_initializing():
        running_mean.value = self.momentum * running_mean.value + (1 - self.momentum) * mean
        running_var.value = self.momentum * running_var.value + (1 - self.momentum) * var
    return outputs.astype(self.dtype or inputs.dtype)


def normalize_by_ghost_batches(
  values: BatchRows,
  mask: Mask | None,
  scale: PerChannel,
  bias: PerChannel,
  epsilon: float,
  rows: int,
  axis_name: str | None,
  expected: PerChannel,
) -> tuple[BatchRows, PerChannel, PerChannel]:
  """Normalizes every `rows` successive rows by themselves (Hoffer et al., 2017).

  Returns:
    Outputs, and mean and biased variance for the running averages: the means of those of the parts,
    weighted by the rows that count in each.
  """
  parts = values.reshape((-1, rows, *values.shape[1:]))
  if mask is None:

    def one(part: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
      return normalize_by_batch(part, scale, bias, epsilon, expected)

    outputs, means, variances = jax.vmap(one)(parts)
    weights = jnp.ones(len(parts))
  else:
    masks = mask.reshape(-1, rows)
    means, variances = jax.vmap(lambda part, kept: batch_statistics(part, kept, None, expected))(
      parts, masks
    )
    outputs = jax.vmap(lambda part, mean, var: normalize_by(part, mean, var, scale, bias, epsilon))(
      parts, means, variances
    )
    weights = jnp.sum(masks, axis=1, dtype=jnp.float32)

  def total(array: jax.Array) -> jax.Array:
    return array if axis_name is None else lax.psum(array, axis_name)

  count = jnp.maximum(total(jnp.sum(weights)), 1)
  mean, var = (total(weights @ statistics) / count for statistics in (means, variances))
  return outputs.reshape(values.shape), mean, var


def batch_statistics(
  values: BatchRows, mask: Mask | None, axis_name: str | None, expected: PerChannel
) -> tuple[PerChannel, PerChannel]:
  """Returns mean and biased variance over the rows that count, in two passes; on TPU in one, whose
  sums are added up over devices at once.

  Args:
    values: The batch.
    mask: The rows that count; None for all.
    axis_name: Name of a mapped axis to sum over as well, or None.
    expected: About what the mean will be, float32 [C].
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
  if target_platform() == 'tpu':
    shifted = values - on_last_axis(expected, values.ndim)
    offset, square = (sum_of_counted(part) / count for part in (shifted, jnp.square(shifted)))
    return expected + offset, jnp.maximum(square - jnp.square(offset), 0)
  mean = sum_of_counted(values) / count
  return mean, sum_of_counted(jnp.square(values - on_last_axis(mean, values.ndim))) / count
