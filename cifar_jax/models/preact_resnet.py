"""Residual networks with pre-activation, deep ones and wide ones.

"Identity Mappings in Deep Residual Networks" (He et al., 2016) and "Wide Residual Networks"
(Zagoruyko and Komodakis, 2016). BatchNorm and ReLU come before each convolution, and once more
before the pooling at the end.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cifar_jax import layers
from cifar_jax.models.conv_units import Logits, NormActivation, plain_conv
from cifar_jax.models.fields import POSITIVE_INT, WIDTHS, Network, blocks_per_stage
from cifar_jax.models.registry import register
from cifar_jax.schema.constraints import BELOW_ONE, one_of
from cifar_jax.utils.array_types import ClassLogits, Images, Maps, Mask, NewMaps

_LAYERS = {'basic': 2, 'bottleneck': 3}


class PreActivationNet(Network):
  """Stages of blocks whose sum passes on untouched; each stage but the first halves the maps.

  Attributes:
    stem: Filters of the first convolution.
    widths: Filters of the stages.
    blocks: Number of blocks of each stage.
    block: 'basic', two 3x3 convolutions, or 'bottleneck', 1x1, 3x3 and 1x1 with four times the
      width.
    dropout: Rate of dropout between the convolutions of a basic block.
  """

  stem: int = 16
  widths: tuple[int, ...] = (16, 32, 64)
  blocks: int = 3
  block: str = 'basic'
  dropout: float = 0.0

  @nn.compact
  def __call__(self, images: Images, train: bool, mask: Mask | None = None) -> ClassLogits:
    maps = plain_conv(self.stem, dtype=self.dtype)(images.astype(self.dtype))
    for stage, width in enumerate(self.widths):
      for number in range(self.blocks):
        maps = PreActivationBlock(
          width,
          2 if stage and not number else 1,
          self.block,
          self.dropout,
          self.dtype,
          name=f'stage{stage}_block{number}',
        )(maps, train, mask)
    maps = NormActivation(self.dtype)(maps, train, mask)
    return Logits(self.num_classes, dtype=self.dtype, name='logits')(maps, train)


class PreActivationBlock(nn.Module):
  """x + branch(x); where the shape changes, a 1x1 convolution of the activated x takes its place.

  Attributes: as `PreActivationNet`, with `width` and `strides` of this block.
  """

  width: int
  strides: int
  block: str
  dropout: float
  dtype: Any

  @nn.compact
  def __call__(self, maps: Maps, train: bool, mask: Mask | None) -> NewMaps:
    """Maps [B, H, W, C] to [B, H / strides, W / strides, width or 4 width]."""

    def activate(maps: jax.Array) -> jax.Array:
      return NormActivation(self.dtype)(maps, train, mask)

    def conv(features: int, kernel_size: int = 3, strides: int = 1) -> layers.Conv:
      return plain_conv(features, kernel_size, strides, dtype=self.dtype)

    outer = self.width if self.block == 'basic' else 4 * self.width
    branch = activate(maps)
    if self.strides > 1 or maps.shape[-1] != outer:
      maps = conv(outer, 1, self.strides)(branch)
    if self.block == 'basic':
      branch = activate(conv(self.width, 3, self.strides)(branch))
      if self.dropout:
        branch = layers.Dropout(self.dropout)(branch, deterministic=not train)
      branch = conv(outer)(branch)
    else:
      branch = activate(conv(self.width, 1)(branch))
      branch = activate(conv(self.width, 3, self.strides)(branch))
      branch = conv(outer, 1)(branch)
    return maps + branch


@register('preact_resnet')
def preact_resnet(
  num_classes: int,
  depth: int = 18,
  widths: tuple[int, ...] = (64, 128, 256, 512),
  block: str = 'basic',
  dtype: Any = jnp.float32,
) -> PreActivationNet:
  """A pre-activation ResNet; the stem is as wide as the first stage.

  Args:
    num_classes: Number of logits.
    depth: 2 + 2 * stages * n with basic blocks, 2 + 3 * stages * n with bottlenecks: 18 for four
      stages; 20, 32, 44, 56, 110 or, with bottlenecks, 164 and 1001 for three.
    widths: Filters of the stages.
    block: 'basic' or 'bottleneck'.
    dtype: Dtype of the computation.

  Raises:
    UserError: A field cannot be met.
  """
  one_of(*_LAYERS).check('model.block', block)
  WIDTHS.check('model.widths', widths)
  layers_of_all = len(widths) * _LAYERS[block]
  blocks = blocks_per_stage(
    depth, 2, layers_of_all, f'{2 + 2 * layers_of_all} or {2 + 3 * layers_of_all}'
  )
  return PreActivationNet(
    num_classes, stem=widths[0], widths=widths, blocks=blocks, block=block, dtype=dtype
  )


@register('wide_resnet')
def wide_resnet(
  num_classes: int,
  depth: int = 28,
  width: int = 10,
  dropout: float = 0.0,
  dtype: Any = jnp.float32,
) -> PreActivationNet:
  """WRN-depth-width: three stages of 16, 32 and 64 filters times the width, after a stem of 16.

  Args:
    num_classes: Number of logits.
    depth: Layers with a kernel, 6 n + 4.
    width: The factor k of the paper.
    dropout: Rate of dropout within the blocks; the paper uses 0.3.
    dtype: Dtype of the computation.

  Raises:
    UserError: A field cannot be met.
  """
  POSITIVE_INT.check('model.width', width)
  BELOW_ONE.check('model.dropout', dropout)
  blocks = blocks_per_stage(depth, 4, 6, '16, 22, 28 or 40')
  widths = (16 * width, 32 * width, 64 * width)
  return PreActivationNet(
    num_classes, stem=16, widths=widths, blocks=blocks, dropout=dropout, dtype=dtype
  )
