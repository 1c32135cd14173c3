"""Residual networks, ResNeXt and squeeze-and-excitation, for small images.

"Deep Residual Learning for Image Recognition" (He et al., 2016), "Aggregated Residual
Transformations for Deep Neural Networks" (Xie et al., 2017), "Squeeze-and-Excitation Networks" (Hu
et al., 2018). The stem is one 3x3 convolution without pooling, as in the CIFAR networks of the
first paper, so ResNet-18 and its kin see maps of 32x32.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cifar_jax import layers
from cifar_jax.models.conv_units import ConvNorm, Logits, SqueezeExcite
from cifar_jax.models.fields import POSITIVE_INT, WIDTHS, Network, blocks_per_stage
from cifar_jax.models.registry import register
from cifar_jax.schema.constraints import integer, one_of
from cifar_jax.schema.options import option
from cifar_jax.utils.array_types import ClassLogits, Images, Maps, Mask, NewMaps

# Blocks in each of four stages where they are not all equal: (block, depth).
_UNEVEN = {
  ('basic', 34): (3, 4, 6, 3),
  ('bottleneck', 50): (3, 4, 6, 3),
  ('bottleneck', 101): (3, 4, 23, 3),
  ('bottleneck', 152): (3, 8, 36, 3),
}
_LAYERS = {'basic': 2, 'bottleneck': 3}


@register('resnet')
class ResNet(Network):
  """Stages of residual blocks; each but the first halves the maps."""

  depth: int = option(20, POSITIVE_INT)(
    'Layers with a kernel, shortcuts aside: 6 n + 2 for three stages of n basic blocks (20, 32, '
    '44, 56, 110), 9 n + 2 for bottlenecks; with four stages 18, 34, 50, 101, 152.'
  )
  widths: tuple[int, ...] = option((16, 32, 64), WIDTHS)(
    'Number of filters of the 3x3 convolutions in each stage, before `group_width` is applied.'
  )
  block: str = option('basic', one_of(*_LAYERS))(
    "The branch: 'basic', two 3x3 convolutions, or 'bottleneck', 1x1, 3x3 and 1x1 with four times "
    'the width.'
  )
  shortcut: str = option('pad', one_of('pad', 'project'))(
    "What is added where the shape changes: 'pad', every other pixel and zeros for new channels, "
    "without parameters (option A), or 'project', a 1x1 convolution and BatchNorm (option B)."
  )
  groups: int = option(1, POSITIVE_INT)(
    'Number of groups of the 3x3 convolution of a bottleneck, the "cardinality" of ResNeXt.'
  )
  group_width: int = option(64, POSITIVE_INT)(
    'Number of filters of such a group in a stage of width 64; 64 with one group is a ResNet.'
  )
  squeeze: int = option(0, integer(0))(
    'Reduction of the squeeze-and-excitation unit at the end of each branch; 0: none.'
  )

  def check(self) -> None:
    """Raises UserError, as `Network.check` describes."""
    self.blocks()

  def blocks(self) -> tuple[int, ...]:
    """How many blocks each stage has."""
    stages = len(self.widths)
    if stages == 4 and (self.block, self.depth) in _UNEVEN:
      return _UNEVEN[self.block, self.depth]
    layers_of_all = stages * _LAYERS[self.block]
    advice = f'{2 + 2 * layers_of_all} or {2 + 3 * layers_of_all}'
    return (blocks_per_stage(self.depth, 2, layers_of_all, advice),) * stages

  @nn.compact
  def __call__(self, images: Images, train: bool, mask: Mask | None = None) -> ClassLogits:
    stem = ConvNorm(self.widths[0], dtype=self.dtype, name='stem')
    maps = stem(images.astype(self.dtype), train, mask)
    for stage, (width, count) in enumerate(zip(self.widths, self.blocks(), strict=True)):
      for number in range(count):
        maps = ResidualBlock(
          width,
          2 if stage and not number else 1,
          self.block,
          self.shortcut,
          self.groups,
          self.group_width,
          self.squeeze,
          self.dtype,
          name=f'stage{stage}_block{number}',
        )(maps, train, mask)
    return Logits(self.num_classes, dtype=self.dtype, name='logits')(maps, train)


class ResidualBlock(nn.Module):
  """relu(shortcut(x) + branch(x)).

  Attributes: as `ResNet`, with `width` and `strides` of this block.
  """

  width: int
  strides: int
  block: str
  shortcut: str
  groups: int
  group_width: int
  squeeze: int
  dtype: Any

  @nn.compact
  def __call__(self, maps: Maps, train: bool, mask: Mask | None) -> NewMaps:
    """Maps [B, H, W, C] to [B, H / strides, W / strides, width or 4 width]."""

    def conv_norm(
      features: int,
      kernel_size: int,
      strides: int = 1,
      groups: int = 1,
      activation: str = 'relu',
    ) -> Callable[[jax.Array], jax.Array]:
      unit = ConvNorm(
        features,
        kernel_size,
        strides,
        groups,
        activation,
        dtype=self.dtype,
      )
      return lambda maps: unit(maps, train, mask)

    inner = self.width * self.group_width // 64 * self.groups
    if self.block == 'basic':
      outer = self.width
      branch = conv_norm(self.width, 3, self.strides)(maps)
      branch = conv_norm(outer, 3, activation='linear')(branch)
    else:
      outer = 4 * self.width
      branch = conv_norm(inner, 1)(maps)
      branch = conv_norm(inner, 3, self.strides, self.groups)(branch)
      branch = conv_norm(outer, 1, activation='linear')(branch)
    if self.squeeze:
      branch = SqueezeExcite(self.squeeze, self.dtype)(branch)
    if self.strides > 1 or maps.shape[-1] != outer:
      if self.shortcut == 'project':
        maps = conv_norm(outer, 1, self.strides, activation='linear')(maps)
      else:
        maps = maps[:, :: self.strides, :: self.strides]
        new = max(outer - maps.shape[-1], 0)
        maps = jnp.pad(maps, ((0, 0), (0, 0), (0, 0), (0, new)))[..., :outer]
    return layers.Activation('relu')(maps + branch)
