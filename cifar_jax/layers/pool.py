"""Pooling; the defaults are those of Keras: 2x2, stride 2, no padding, odd sizes floored."""

from collections.abc import Sequence

import flax.linen as nn
import jax

from cifar_jax.layers.window import Padding, pair, require_room
from cifar_jax.ops.max_pool import max_pool


class MaxPool(nn.Module):
  """The maximum of each window.

  Attributes:
    window_shape: height and width of the window, or one number for both.
    strides: step of the window; None means the window's own size.
    padding: 'SAME', 'VALID' or ((top, bottom), (left, right)); padding never wins.
  """

  window_shape: int | Sequence[int] = (2, 2)
  strides: int | Sequence[int] | None = None
  padding: Padding = 'VALID'

  @nn.compact
  def __call__(self, inputs: jax.Array) -> jax.Array:
    """Maps [B, H, W, C] to [B, H', W', C].

    Raises:
      UserError: the map is smaller than the window.
    """
    window = pair(self.window_shape)
    strides = window if self.strides is None else pair(self.strides)
    require_room('max-pool', inputs.shape, window, self.padding)
    return max_pool(inputs, window, strides, self.padding)


class AveragePool(nn.Module):
  """The mean of each window; padding does not count.

  Attributes:
    window_shape: height and width of the window, or one number for both.
    strides: step of the window; None means the window's own size.
    padding: 'SAME', 'VALID' or ((top, bottom), (left, right)).
  """

  window_shape: int | Sequence[int] = (2, 2)
  strides: int | Sequence[int] | None = None
  padding: Padding = 'VALID'

  @nn.compact
  def __call__(self, inputs: jax.Array) -> jax.Array:
    """Maps [B, H, W, C] to [B, H', W', C].

    Raises:
      UserError: the map is smaller than the window.
    """
    window = pair(self.window_shape)
    strides = window if self.strides is None else pair(self.strides)
    require_room('average-pool', inputs.shape, window, self.padding)
    return nn.avg_pool(inputs, window, strides, self.padding, count_include_pad=False)
