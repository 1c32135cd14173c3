"""Two-dimensional convolution."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from cifar_jax.ops import onednn
from cifar_jax.ops.forms import use_cpu_forms, use_library_calls
from cifar_jax.ops.relu import relu as rectify

Padding = str | Sequence[tuple[int, int]]


def conv(
  inputs: jax.Array,
  kernel: jax.Array,
  bias: jax.Array | None,
  strides: tuple[int, int],
  padding: Padding,
  dilation: tuple[int, int],
  groups: int,
  relu: bool,
) -> jax.Array:
  """Convolves [B, H, W, C] with [kh, kw, C // groups, F] to [B, H', W', F].

  Args:
    inputs: maps.
    kernel: of the dtype of the inputs.
    bias: [F] to be added, or None.
    strides: step of the window.
    padding: 'SAME', 'VALID' or ((top, bottom), (left, right)).
    dilation: distance between the taps of the kernel.
    groups: of channels convolved separately.
    relu: whether ReLU is taken in the end.
  """
  if groups == 1 and dilation == (1, 1) and use_library_calls(inputs.dtype):
    pads = _pads(padding, inputs.shape[1:3], kernel.shape[:2], strides)
    windows = zip(pads, kernel.shape[:2], strict=True)
    if all(0 <= pad < size for ends, size in windows for pad in ends):
      return onednn.conv(inputs, kernel, bias, strides, pads, relu)
  outputs = _choose(inputs, kernel, strides, padding, dilation, groups)
  if bias is not None:
    outputs = outputs + bias.reshape(1, 1, 1, -1)
  return rectify(outputs) if relu else outputs


def _choose(
  inputs: jax.Array,
  kernel: jax.Array,
  strides: tuple[int, int],
  padding: Padding,
  dilation: tuple[int, int],
  groups: int,
) -> jax.Array:
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
  pads = _pads(padding, inputs.shape[1:3], kernel.shape[:2], strides)
  padded = jnp.pad(inputs, ((0, 0), *pads, (0, 0)))
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


def _pads(
  padding: Padding, sizes: Sequence[int], windows: Sequence[int], strides: tuple[int, int]
) -> onednn.Pads:
  pads = (
    lax.padtype_to_pads(sizes, windows, strides, padding) if isinstance(padding, str) else padding
  )
  (top, bottom), (left, right) = pads
  return (int(top), int(bottom)), (int(left), int(right))
