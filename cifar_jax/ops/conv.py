"""Two-dimensional convolution."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from cifar_jax.ops.forms import use_cpu_forms

Padding = str | Sequence[tuple[int, int]]


def conv(
  inputs: jax.Array,
  kernel: jax.Array,
  strides: tuple[int, int],
  padding: Padding,
  dilation: tuple[int, int],
  groups: int,
) -> jax.Array:
  """Convolves [B, H, W, C] with [kh, kw, C // groups, F] to [B, H', W', F].

  Args:
    inputs: maps.
    kernel: of the dtype of the inputs.
    strides: step of the window.
    padding: 'SAME', 'VALID' or ((top, bottom), (left, right)).
    dilation: distance between the taps of the kernel.
    groups: of channels convolved separately.
  """
  pointwise = kernel.shape[:2] == (1, 1) and strides == (1, 1) and groups == 1
  if pointwise and isinstance(padding, str) and use_cpu_forms():
    return pointwise_conv(inputs, kernel)
  depthwise = groups == inputs.shape[-1] == kernel.shape[3] and dilation == (1, 1)
  if depthwise and use_cpu_forms():
    return depthwise_conv(inputs, kernel, strides, padding)
  return plain_conv(inputs, kernel, strides, padding, dilation, groups)


def plain_conv(
  inputs: jax.Array,
  kernel: jax.Array,
  strides: tuple[int, int],
  padding: Padding,
  dilation: tuple[int, int],
  groups: int,
) -> jax.Array:
  """The same by XLA's convolution."""
  return lax.conv_general_dilated(
    inputs,
    kernel,
    window_strides=strides,
    padding=padding,
    rhs_dilation=dilation,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    feature_group_count=groups,
  )


def pointwise_conv(inputs: jax.Array, kernel: jax.Array) -> jax.Array:
  """A convolution with [1, 1, C, F], stride 1, written as the matrix product that it is.

  XLA's CPU backend transposes maps in memory to compute the gradients of a convolution; those of a
  matrix product it computes in place.
  """
  channels, features = kernel.shape[2:]
  rows = inputs.reshape(-1, channels) @ kernel.reshape(channels, features)
  return rows.reshape(*inputs.shape[:-1], features)


def depthwise_conv(
  inputs: jax.Array, kernel: jax.Array, strides: tuple[int, int], padding: Padding
) -> jax.Array:
  """A convolution of every channel by itself, kernel [kh, kw, 1, C], as a sum of shifted products.

  XLA's CPU backend has no fast form of it: this one takes a fifth to a twentieth of the time.
  """
  if isinstance(padding, str):
    padding = lax.padtype_to_pads(inputs.shape[1:3], kernel.shape[:2], strides, padding)
  padded = jnp.pad(inputs, ((0, 0), *padding, (0, 0)))
  height, width = (
    (size - window) // stride + 1
    for size, window, stride in zip(padded.shape[1:3], kernel.shape[:2], strides, strict=True)
  )
  total = jnp.zeros((), inputs.dtype)
  for row in range(kernel.shape[0]):
    for column in range(kernel.shape[1]):
      down = slice(row, row + (height - 1) * strides[0] + 1, strides[0])
      right = slice(column, column + (width - 1) * strides[1] + 1, strides[1])
      weights = kernel[row, column].reshape(1, 1, 1, -1)
      total = total + padded[:, down, right] * weights
  return total
