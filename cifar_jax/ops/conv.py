"""Two-dimensional convolution."""

from collections.abc import Sequence

from jax import lax

from cifar_jax.ops import onednn
from cifar_jax.ops.activations import relu as rectify
from cifar_jax.ops.depthwise import depthwise_conv
from cifar_jax.ops.dispatch import use_cpu_kernels, use_library_calls
from cifar_jax.utils.array_types import Kernel, Maps, NewMaps, PerFeature, PointwiseMaps

Padding = str | Sequence[tuple[int, int]]


def conv(
  inputs: Maps,
  kernel: Kernel,
  bias: PerFeature | None,
  strides: tuple[int, int],
  padding: Padding,
  dilation: tuple[int, int],
  groups: int,
  relu: bool,
) -> NewMaps:
  """Convolves maps, adds the bias and takes ReLU.

  Args:
    inputs: The feature maps.
    kernel: The kernel, of the dtype of the inputs; it has `channels // groups` of the channels.
    bias: What is added, or None.
    strides: Vertical and horizontal step of the window.
    padding: 'SAME', 'VALID' or ((top, bottom), (left, right)).
    dilation: Distance between the taps of the kernel.
    groups: Number of groups of channels that are convolved separately.
    relu: Whether ReLU is taken in the end.
  """
  pads = _pads(padding, inputs.shape[1:3], kernel.shape[:2], strides)
  windows = zip(pads, kernel.shape[:2], strict=True)
  usual = dilation == (1, 1) and all(0 <= pad < size for ends, size in windows for pad in ends)
  if usual and groups == 1 and use_library_calls(inputs.dtype):
    return onednn.conv(inputs, kernel, bias, strides, pads, relu)
  if usual and groups == inputs.shape[-1] == kernel.shape[3] and use_cpu_kernels():
    outputs = depthwise_conv(inputs, kernel, strides, pads)
  elif kernel.shape[:2] == strides == (1, 1) and usual and groups == 1 and use_cpu_kernels():
    outputs = pointwise_conv(inputs, kernel)
  else:
    outputs = reference_conv(inputs, kernel, strides, padding, dilation, groups)
  if bias is not None:
    outputs = outputs + bias.reshape(1, 1, 1, -1)
  return rectify(outputs) if relu else outputs


def reference_conv(
  inputs: Maps,
  kernel: Kernel,
  strides: tuple[int, int],
  padding: Padding,
  dilation: tuple[int, int],
  groups: int,
) -> NewMaps:
  """Convolves by XLA's own convolution; arguments as for `conv`."""
  return lax.conv_general_dilated(
    inputs,
    kernel,
    window_strides=strides,
    padding=padding,
    rhs_dilation=dilation,
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    feature_group_count=groups,
  )


def pointwise_conv(inputs: Maps, kernel: Kernel) -> PointwiseMaps:
  """A convolution with [1, 1, C, F], stride 1, written as the matrix product that it is.

  XLA's CPU backend transposes maps in memory to compute the gradients of a convolution; those of a
  matrix product it computes in place.
  """
  channels, features = kernel.shape[2:]
  rows = inputs.reshape(-1, channels) @ kernel.reshape(channels, features)
  return rows.reshape(*inputs.shape[:-1], features)


def _pads(
  padding: Padding, sizes: Sequence[int], windows: Sequence[int], strides: tuple[int, int]
) -> onednn.Pads:
  pads = (
    lax.padtype_to_pads(sizes, windows, strides, padding) if isinstance(padding, str) else padding
  )
  (top, bottom), (left, right) = pads
  return (int(top), int(bottom)), (int(left), int(right))
