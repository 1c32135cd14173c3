"""Two-dimensional convolution."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn

from cifar_jax.layers.activation import activation_function
from cifar_jax.layers.window import Padding, pair, require_room
from cifar_jax.ops.conv import conv
from cifar_jax.utils.array_types import AnyFloats, NewMaps


class Conv(nn.Module):
  """Convolution over [B, H, W, C] images, with bias, then the activation.

  Attributes:
    features: Number of filters.
    kernel_size: Height and width of the window, or one number for both.
    strides: Step of the window, or one number for both.
    padding: 'SAME', 'VALID' or ((top, bottom), (left, right)).
    kernel_dilation: Distance between the taps of the kernel ("atrous" for more than 1).
    feature_group_count: Groups of channels convolved separately; as many as input channels is a
      depthwise convolution.
    use_bias: Whether a bias is added.
    kernel_init: Initializer of 'kernel' [kh, kw, C // groups, features]; Glorot and Bengio (2010)
      as in Keras.
    bias_init: Initializer of 'bias' [features].
    activation: As for `activation_function`.
    dtype: Dtype of the computation; None means that of the inputs. Parameters are float32.
  """

  features: int
  kernel_size: int | Sequence[int] = (3, 3)
  strides: int | Sequence[int] = 1
  padding: Padding = 'SAME'
  kernel_dilation: int | Sequence[int] = 1
  feature_group_count: int = 1
  use_bias: bool = True
  kernel_init: nn.initializers.Initializer = nn.initializers.glorot_uniform()
  bias_init: nn.initializers.Initializer = nn.initializers.zeros_init()
  activation: str = 'linear'
  dtype: Any = None

  @nn.compact
  def __call__(self, inputs: AnyFloats) -> NewMaps:
    """Raises UserError where the input is no batch of maps, or they are smaller than the window."""
    kernel_size, strides = pair(self.kernel_size), pair(self.strides)
    dilation = pair(self.kernel_dilation)
    reach = tuple((size - 1) * step + 1 for size, step in zip(kernel_size, dilation, strict=True))
    require_room('convolution', inputs.shape, reach, self.padding)
    channels = inputs.shape[-1] // self.feature_group_count
    kernel = self.param('kernel', self.kernel_init, (*kernel_size, channels, self.features))
    bias = self.param('bias', self.bias_init, (self.features,)) if self.use_bias else None
    inputs, kernel, bias = nn.dtypes.promote_dtype(inputs, kernel, bias, dtype=self.dtype)
    relu = self.activation == 'relu'
    groups = self.feature_group_count
    outputs = conv(inputs, kernel, bias, strides, self.padding, dilation, groups, relu)
    return outputs if relu else activation_function(self.activation)(outputs)
