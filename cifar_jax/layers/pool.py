"""Pooling, and the ways from feature maps to vectors.

The defaults are those of Keras: windows of 2x2, stride 2, no padding, odd sizes floored.
"""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp

from cifar_jax.layers.window import Padding, pair, require_room
from cifar_jax.ops.max_pool import max_pool
from cifar_jax.utils.array_types import AnyFloats, ChannelVectors, Maps, NewMaps, Vectors


class MaxPool(nn.Module):
  """The maximum of each window.

  Attributes:
    window_shape: Height and width of the window, or one number for both.
    strides: Step of the window; None means the window's own size.
    padding: 'SAME', 'VALID' or ((top, bottom), (left, right)); padding never wins.
  """

  window_shape: int | Sequence[int] = (2, 2)
  strides: int | Sequence[int] | None = None
  padding: Padding = 'VALID'

  @nn.compact
  def __call__(self, inputs: AnyFloats) -> NewMaps:
    """Raises UserError where the input is no batch of maps, or they are smaller than the window."""
    window = pair(self.window_shape)
    strides = window if self.strides is None else pair(self.strides)
    require_room('max-pool', inputs.shape, window, self.padding)
    return max_pool(inputs, window, strides, self.padding)


class AveragePool(nn.Module):
  """The mean of each window; padding does not count.

  Attributes:
    window_shape: Height and width of the window, or one number for both.
    strides: Step of the window; None means the window's own size.
    padding: 'SAME', 'VALID' or ((top, bottom), (left, right)).
  """

  window_shape: int | Sequence[int] = (2, 2)
  strides: int | Sequence[int] | None = None
  padding: Padding = 'VALID'

  @nn.compact
  def __call__(self, inputs: AnyFloats) -> NewMaps:
    """Raises UserError where the input is no batch of maps, or they are smaller than the window."""
    window = pair(self.window_shape)
    strides = window if self.strides is None else pair(self.strides)
    require_room('average-pool', inputs.shape, window, self.padding)
    return nn.avg_pool(
      inputs,
      window_shape=window,
      strides=strides,
      padding=self.padding,
      count_include_pad=False,
    )


class Flatten(nn.Module):
  """Keeps the batch axis and joins the others, rows first, as in Keras with channels last."""

  @nn.compact
  def __call__(self, inputs: AnyFloats) -> Vectors:
    return inputs.reshape(inputs.shape[0], math.prod(inputs.shape[1:]))


class GlobalAveragePool(nn.Module):
  """The mean of each channel; jnp.mean sums bfloat16 in float32."""

  @nn.compact
  def __call__(self, inputs: Maps) -> ChannelVectors:
    return jnp.mean(inputs, axis=(1, 2))
