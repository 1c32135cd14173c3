"""Convolution of every channel by itself."""

import functools

import jax
import jax.numpy as jnp

from cifar_jax.ops.dispatch import use_library_calls
from cifar_jax.ops.onednn import Pads, call_conv, pads_of_gradient
from cifar_jax.utils.array_types import Kernel, Maps, NewMaps


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
  """Convolves every channel by itself, by oneDNN.

  The gradient by the maps is oneDNN's too where the window moves by single steps.
  """
  return call_conv(inputs, kernel, None, strides, pads, groups=kernel.shape[3])


def _forward(
  inputs: jax.Array, kernel: jax.Array, strides: tuple[int, int], pads: Pads
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  return library_depthwise(inputs, kernel, strides, pads), (inputs, kernel)


def _backward(
  strides: tuple[int, int], pads: Pads, kept: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
  inputs, kernel = kept
  _, pull_back = jax.vjp(lambda x, k: shifted_products(x, k, strides, pads), inputs, kernel)
  to_inputs, to_kernel = pull_back(gradient)
  if strides == (1, 1):  # what was computed for them above is then left out by the compiler
    around = pads_of_gradient(kernel, pads)
    turned = kernel[::-1, ::-1]
    to_inputs = call_conv(gradient, turned, None, (1, 1), around, groups=kernel.shape[3])
  return to_inputs, to_kernel


library_depthwise.defvjp(_forward, _backward)
