"""Max-pooling."""

import functools
from collections.abc import Iterator, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from cifar_jax.ops.dispatch import use_cpu_kernels
from cifar_jax.utils.array_types import Maps, PooledMaps

Padding = str | Sequence[tuple[int, int]]


def max_pool(
  inputs: Maps, window: tuple[int, int], strides: tuple[int, int], padding: Padding
) -> PooledMaps:
  """Returns the maximum of each window; padding never wins.

  The gradient goes to the first maximum of a window, in reading order.

  Args:
    inputs: The feature maps.
    window: Height and width of the window.
    strides: Vertical and horizontal step of the window.
    padding: 'SAME', 'VALID' or ((top, bottom), (left, right)).
  """
  if window == strides and padding == 'VALID' and use_cpu_kernels():
    return disjoint_max_pool(inputs, window)
  return reference_max_pool(inputs, window, strides, padding)


def reference_max_pool(
  inputs: Maps, window: tuple[int, int], strides: tuple[int, int], padding: Padding
) -> PooledMaps:
  """Max-pools by `reduce_window`, whose gradient is XLA's select-and-scatter."""
  return nn.max_pool(inputs, window_shape=window, strides=strides, padding=padding)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def disjoint_max_pool(inputs: Maps, window: tuple[int, int]) -> PooledMaps:
  """Max-pools windows side by side; rows and columns beyond the last whole window are dropped.

  XLA's CPU backend runs select-and-scatter one element after the other. Where windows do not
  overlap, the gradient needs no scatter: every input belongs to one window at most and only asks
  whether it is that window's first maximum.
  """
  return reference_max_pool(inputs, window, window, 'VALID')


def _forward(
  inputs: jax.Array, window: tuple[int, int]
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  outputs = disjoint_max_pool(inputs, window)
  return outputs, (inputs, outputs)


def _backward(
  window: tuple[int, int], residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array]:
  dtype = gradient.dtype
  # As integers of the same bits, since XLA's CPU backend would widen bfloat16 to float32 and back.
  inputs, outputs, gradient = map(_as_bits, (*residuals, gradient))
  batch, rows, columns, channels = outputs.shape
  height, width = window
  place_in_window = jnp.arange(height * width).reshape(1, 1, height, 1, width, 1)
  taken = jnp.zeros(outputs.shape, bool)
  result = jnp.zeros((), gradient.dtype)
  for place, values in enumerate(_by_place(inputs, window, outputs.shape)):
    is_maximum = values == outputs
    part = jnp.where(is_maximum & ~taken, gradient, 0)[:, :, None, :, None, :]
    result = jnp.where(place_in_window == place, part, result)  # one loop over the inputs, in XLA
    taken |= is_maximum
  result = result.reshape(batch, rows * height, columns * width, channels)
  margins = ((0, inputs.shape[axis] - result.shape[axis]) for axis in range(4))
  result = jnp.pad(result, tuple(margins))
  return (lax.bitcast_convert_type(result, dtype) if dtype == jnp.bfloat16 else result,)


def _as_bits(values: jax.Array) -> jax.Array:
  """Returns the bits of bfloat16 values as int16, and values of any other dtype as they are."""
  if values.dtype == jnp.bfloat16:
    return lax.bitcast_convert_type(values, jnp.int16)
  return values


def _by_place(
  inputs: jax.Array, window: tuple[int, int], shape: tuple[int, ...]
) -> Iterator[jax.Array]:
  """Yields the input [B, H', W', C] of all windows at each place of a window, in reading order."""
  height, width = window
  for i in range(height):
    for j in range(width):
      yield inputs[:, i::height, j::width][:, : shape[1], : shape[2]]


disjoint_max_pool.defvjp(_forward, _backward)
