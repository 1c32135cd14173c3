"""DenseNet: "Densely Connected Convolutional Networks" (Huang et al., 2017), for small images."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from cifar_jax import layers
from cifar_jax.models.conv_units import Logits, NormActivation, plain_conv
from cifar_jax.models.fields import POSITIVE_INT, Network, blocks_per_stage
from cifar_jax.models.registry import register
from cifar_jax.schema.constraints import BELOW_ONE, BOOLEAN, UP_TO_ONE
from cifar_jax.schema.options import option
from cifar_jax.utils.array_types import ClassLogits, Images, Maps, Mask, NewMaps

_BLOCKS = 3
_BOTTLENECK = 4  # filters of the 1x1 convolution, in growths


@register('densenet')
class DenseNet(Network):
  """Three dense blocks, in which each layer sees the maps of all earlier ones."""

  depth: int = option(40, POSITIVE_INT)(
    'Layers with a kernel: 3 n + 4 without bottlenecks, n layers per block (40, 100), 6 n + 4 with '
    'them (100, 190, 250).'
  )
  growth: int = option(12, POSITIVE_INT)(
    'Number of filters that each layer adds, "k" in the paper.'
  )
  bottleneck: bool = option(False, BOOLEAN)(
    'A 1x1 convolution to four growths before each 3x3 one, and twice the growth in the stem, '
    'which otherwise has 16 filters; "B".'
  )
  compression: float = option(1.0, UP_TO_ONE)(
    'Share of the channels that a transition keeps, above 0 up to 1; "C" is 0.5.'
  )
  dropout: float = option(0.0, BELOW_ONE)(
    'Rate of dropout after each convolution but the first; the paper uses 0.2 without augmentation.'
  )
  remat: bool = option(False, BOOLEAN)(
    'Computes the layers again for the gradient and keeps their concatenated inputs only: much '
    'less memory, about a third more time (Pleiss et al., 2017).'
  )

  def check(self) -> None:
    """Raises UserError, as `Network.check` describes."""
    self.layers_a_block()

  def layers_a_block(self) -> int:
    """How many layers each dense block has."""
    each = _BLOCKS * (2 if self.bottleneck else 1)
    return blocks_per_stage(self.depth, 4, each, '100 or 250' if self.bottleneck else '40 or 100')

  @nn.compact
  def __call__(self, images: Images, train: bool, mask: Mask | None = None) -> ClassLogits:
    layer = nn.remat(DenseLayer, static_argnums=(2,)) if self.remat else DenseLayer
    common = {'dropout': self.dropout, 'dtype': self.dtype}
    stem = 2 * self.growth if self.bottleneck else 16
    maps = plain_conv(stem, dtype=self.dtype)(images.astype(self.dtype))
    for block in range(_BLOCKS):
      if block:
        kept = int(maps.shape[-1] * self.compression)
        maps = Transition(kept, **common, name=f'transition{block}')(maps, train, mask)
      for index in range(self.layers_a_block()):
        name = f'block{block}_layer{index}'
        new = layer(self.growth, self.bottleneck, **common, name=name)(maps, train, mask)
        maps = jnp.concatenate([maps, new], axis=-1)
    maps = NormActivation(self.dtype)(maps, train, mask)
    return Logits(self.num_classes, dtype=self.dtype, name='logits')(maps, train)


class DenseLayer(nn.Module):
  """The new maps of one layer.

  Attributes: as `DenseNet`.
  """

  growth: int
  bottleneck: bool
  dropout: float
  dtype: Any

  @nn.compact
  def __call__(self, maps: Maps, train: bool, mask: Mask | None) -> NewMaps:
    """Maps [B, H, W, C] to [B, H, W, growth]."""
    widths = [(_BOTTLENECK * self.growth, 1)] if self.bottleneck else []
    for features, kernel_size in (*widths, (self.growth, 3)):
      maps = NormActivation(self.dtype)(maps, train, mask)
      maps = plain_conv(features, kernel_size, dtype=self.dtype)(maps)
      if self.dropout:
        maps = layers.Dropout(self.dropout)(maps, deterministic=not train)
    return maps


class Transition(nn.Module):
  """A 1x1 convolution, then the mean of 2x2 pixels.

  Attributes: as `DenseNet`, with the filters of this transition.
  """

  features: int
  dropout: float
  dtype: Any

  @nn.compact
  def __call__(self, maps: Maps, train: bool, mask: Mask | None) -> NewMaps:
    """Maps [B, H, W, C] to [B, H // 2, W // 2, features]."""
    maps = NormActivation(self.dtype)(maps, train, mask)
    maps = plain_conv(self.features, 1, dtype=self.dtype)(maps)
    if self.dropout:
      maps = layers.Dropout(self.dropout)(maps, deterministic=not train)
    return layers.AveragePool()(maps)
