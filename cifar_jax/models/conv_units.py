"""What the convolutional families share: a convolution with BatchNorm before or after it.

The constants are those of the papers' programs (Torch, PyTorch): normal kernels of the variance 2 /
(k k F) (He et al., 2015, by the outputs), BatchNorm with a momentum of 0.9 and an epsilon of 1e-5,
and half the window as border on both sides, where 'SAME' would pad even maps on one side only.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from cifar_jax import layers
from cifar_jax.layers.window import Padding
from cifar_jax.utils.array_types import ClassLogits, Maps, Mask, NewMaps

he_normal = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')


def same_border(kernel_size: int, strides: int) -> Padding:
  """Half the window on each side; 'SAME' where that is the same."""
  return 'SAME' if strides == 1 else ((kernel_size // 2,) * 2,) * 2


class ConvNorm(nn.Module):
  """Convolution without bias, BatchNorm, activation.

  Attributes:
    features: Number of filters.
    kernel_size: Height and width of the window, odd.
    strides: Step of the window.
    groups: Number of groups of channels that are convolved separately.
    activation: As for `layers.activation_function`.
    use_scale: Whether BatchNorm learns a factor.
    dtype: Dtype of the computation; parameters are float32.
  """

  features: int
  kernel_size: int = 3
  strides: int = 1
  groups: int = 1
  activation: str = 'relu'
  use_scale: bool = True
  dtype: Any = None

  @nn.compact
  def __call__(self, maps: Maps, train: bool, mask: Mask | None) -> NewMaps:
    maps = plain_conv(self.features, self.kernel_size, self.strides, self.groups, self.dtype)(maps)
    maps = batch_norm(self.dtype, self.use_scale)(maps, not train, mask)
    return maps if self.activation == 'linear' else layers.Activation(self.activation)(maps)


class NormActivation(nn.Module):
  """BatchNorm, then ReLU: what comes before a convolution with pre-activation (He et al., 2016).

  Attributes: as `ConvNorm`.
  """

  dtype: Any = None

  @nn.compact
  def __call__(self, maps: Maps, train: bool, mask: Mask | None) -> Maps:
    return layers.Activation('relu')(batch_norm(self.dtype)(maps, not train, mask))


class SqueezeExcite(nn.Module):
  """Scales each channel by a number in 0..1 that depends on all of them (Hu et al., 2018).

  Attributes:
    reduction: Channels per unit of the layer between.
    dtype: Dtype of the computation.
  """

  reduction: int
  dtype: Any = None

  @nn.compact
  def __call__(self, maps: Maps) -> Maps:
    batch, _, _, channels = maps.shape
    units = max(channels // self.reduction, 1)
    gates = layers.GlobalAveragePool()(maps)
    gates = layers.Dense(units, activation='relu', dtype=self.dtype)(gates)
    gates = layers.Dense(channels, activation='sigmoid', dtype=self.dtype)(gates)
    return maps * gates.reshape(batch, 1, 1, channels)


def plain_conv(
  features: int, kernel_size: int = 3, strides: int = 1, groups: int = 1, dtype: Any = None
) -> layers.Conv:
  """A convolution without bias or activation."""
  return layers.Conv(
    features,
    kernel_size,
    strides,
    same_border(kernel_size, strides),
    feature_group_count=groups,
    use_bias=False,
    kernel_init=he_normal,
    dtype=dtype,
  )


def batch_norm(dtype: Any, use_scale: bool = True) -> layers.BatchNorm:
  """BatchNorm with the constants of PyTorch."""
  return layers.BatchNorm(momentum=0.9, epsilon=1e-5, dtype=dtype, use_scale=use_scale)


class Logits(nn.Module):
  """The mean of each channel and a dense layer: the end of most families.

  Attributes:
    num_classes: Number of logits.
    dropout: Rate of dropout between the two.
    dtype: Dtype of the computation; the logits are float32.
  """

  num_classes: int
  dropout: float = 0.0
  dtype: Any = None

  @nn.compact
  def __call__(self, maps: Maps, train: bool) -> ClassLogits:
    vectors = layers.GlobalAveragePool()(maps)
    if self.dropout:
      vectors = layers.Dropout(self.dropout)(vectors, deterministic=not train)
    return layers.Dense(self.num_classes, dtype=self.dtype)(vectors).astype(jnp.float32)
