"""Convolution of every channel by itself."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from cifar_jax.ops.batch_partitioned import batch_partitioned
from cifar_jax.ops.dispatch import use_library_calls
from cifar_jax.ops.onednn import NO_PADS, Pads, bare_conv, call_conv, pads_of_gradient, summed
from cifar_jax.utils.array_types import Kernel, Maps, NewMaps

# In a call that takes the place of a kernel gradient: about the best of 1,000 to 65,000. A longer
# sum is slower and, of float32, less precise.
_PLACES_AT_ONCE = 8192
# Calls that are written out, each of which every process compiles in a tenth of a second; more are
# made in a loop, by which a gradient takes a third more time.
_MOST_CALLS = 64


def depthwise_conv(inputs: Maps, kernel: Kernel, strides: tuple[int, int], pads: Pads) -> NewMaps:
  """Convolves every channel by itself, by a kernel for CPU.

  Args:
    inputs: The feature maps.
    kernel: The kernel, of the dtype of the inputs.
    strides: Vertical and horizontal step of the window.
    pads: Zeros put around the maps as (top, bottom), (left, right).
  """
  choose = library_depthwise if use_library_calls(inputs.dtype) else shifted_products
  return choose(inputs, kernel, strides, pads)


def shifted_products(inputs: Maps, kernel: Kernel, strides: tuple[int, int], pads: Pads) -> NewMaps:
  """Convolves every channel by itself, as a sum over the places of the window.

  XLA's CPU backend has no fast kernel for it: this one takes a fifth to a twentieth of the time.
  """
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


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def library_depthwise(
  inputs: Maps, kernel: Kernel, strides: tuple[int, int], pads: Pads
) -> NewMaps:
  """Convolves every channel by itself, by oneDNN, as are both gradients."""
  return call_conv(inputs, kernel, None, strides, pads, groups=kernel.shape[3])


def _forward(
  inputs: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Pads
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  return library_depthwise(inputs, kernel, strides, pads), (inputs, kernel)


def _backward(
  strides: tuple[int, int], pads: Pads, kept: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
  inputs, kernel = kept
  return (
    _gradient_of_inputs(gradient, kernel, inputs.shape[1:3], strides, pads),
    _gradient_of_kernel(inputs, gradient, kernel, strides, pads),
  )


library_depthwise.defvjp(_forward, _backward)


def _gradient_of_inputs(
  gradient: jax.Array,
  kernel: jax.Array,
  sizes: Sequence[int],
  strides: tuple[int, int],
  pads: Pads,
) -> jax.Array:
  """Returns the inputs' gradient: the outputs' one, with zeros between, by the turned kernel."""
  around = pads_of_gradient(kernel, pads)
  if strides != (1, 1):
    border = [
      (low, size + window - 1 - low - ((count - 1) * stride + 1), stride - 1)
      for (low, _), size, window, count, stride in zip(
        around, sizes, kernel.shape[:2], gradient.shape[1:3], strides, strict=True
      )
    ]
    zero = jnp.zeros((), gradient.dtype)
    gradient = lax.pad(gradient, zero, ((0, 0, 0), *border, (0, 0, 0)))
    around = NO_PADS
  turned = kernel[::-1, ::-1]
  return call_conv(gradient, turned, None, (1, 1), around, groups=kernel.shape[3])


def _gradient_of_kernel(
  inputs: jax.Array,
  gradient: jax.Array,
  kernel: jax.Array,
  strides: tuple[int, int],
  pads: Pads,
) -> jax.Array:
  """Returns the kernel's gradient: inputs, several examples below each other as one tall map,
  convolved by the outputs' gradient as one tall kernel, whose taps are apart as the windows were.

  A partial sum over so many examples has the dtype of the inputs; their sum is float32.
  """
  window, channels = kernel.shape[:2], kernel.shape[3]
  height, width = gradient.shape[1:3]
  at_once = max(1, _PLACES_AT_ONCE // (height * width))
  tall, wide = (
    (count - 1) * stride + size
    for count, stride, size in zip((height, width), strides, window, strict=True)
  )
  rows = -(-tall // strides[0])  # of the kernel, for each example; those beyond `height` are zeros

  def found(inputs: jax.Array, gradient: jax.Array) -> jax.Array:
    zero = jnp.zeros((), inputs.dtype)
    border = [
      (low, needed - size - low, 0)
      for needed, size, (low, _) in zip(
        (rows * strides[0], wide), inputs.shape[1:3], pads, strict=True
      )
    ]
    maps = lax.pad(inputs, zero, ((0, 0, 0), *border, (0, 0, 0)))
    maps = maps.reshape(1, -1, wide, channels)
    taps = jnp.pad(gradient, ((0, 0), (0, rows - height), (0, 0), (0, 0)))
    taps = taps.reshape(-1, width, 1, channels)
    last = len(taps) - rows + height
    maps = maps[:, : (last - 1) * strides[0] + window[0]]
    return bare_conv(
      maps, taps[:last], strides=(1, 1), pads=NO_PADS, groups=channels, dilation=strides
    ).astype(jnp.float32)

  def total(inputs: jax.Array, gradient: jax.Array) -> jax.Array:
    starts = range(0, len(inputs), at_once)
    if len(starts) > _MOST_CALLS:
      return summed(found, inputs, gradient, at_once).transpose(1, 2, 0, 3)
    parts = (slice(at, at + at_once) for at in starts)
    sums = sum(found(inputs[part], gradient[part]) for part in parts)
    return jnp.asarray(sums).transpose(1, 2, 0, 3)

  rule = 'b h w c, b i j c -> y x o c'
  divided = batch_partitioned(total, rule, (True, True), summed=True)
  return divided(inputs, gradient).astype(kernel.dtype)
