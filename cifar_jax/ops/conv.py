"""Two-dimensional convolution."""

from collections.abc import Sequence

import jax
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
