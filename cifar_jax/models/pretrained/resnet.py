"""ResNet-18 and ResNet-50: "Deep Residual Learning for Image Recognition" (He et al., 2015), in the
form and with the names of torchvision, whose bottlenecks stride in the 3x3 convolution.
"""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp

from cifar_jax import layers
from cifar_jax.models.pretrained.tensors import BATCH_NORM, Place, convolution, dense, vector
from cifar_jax.utils.array_types import Images, Maps, MapsOrLogits, Mask, NewMaps

_WIDTHS = (64, 128, 256, 512)
_MOMENTUM, _EPSILON = 0.9, 1e-5  # PyTorch's 0.1 is the share of the new value


class ImageNetResNet(nn.Module):
  """A 7x7 convolution and a max-pool, four stages of residual blocks; a dense layer if asked for.

  Attributes:
    blocks: The number of blocks in each stage.
    bottleneck: Whether blocks are 1x1, 3x3 and 1x1 convolutions, four times as wide outside; else
      two 3x3 ones.
    num_classes: The width of the dense layer; 0 leaves it and the average before it out.
  """

  blocks: tuple[int, ...]
  bottleneck: bool
  num_classes: int = 0

  @nn.compact
  def __call__(self, images: Images, train: bool, mask: Mask | None = None) -> MapsOrLogits:
    """Maps [B, H / 32, W / 32, C], or logits."""
    maps = layers.Conv(64, 7, 2, ((3, 3), (3, 3)), use_bias=False, name='conv1')(images)
    maps = jax.nn.relu(_norm('bn1')(maps, not train, mask))
    maps = layers.MaxPool(3, 2, ((1, 1), (1, 1)))(maps)
    for stage, (width, count) in enumerate(zip(_WIDTHS, self.blocks, strict=True), 1):
      for number in range(count):
        strides = 2 if number == 0 and stage > 1 else 1
        maps = Block(width, strides, self.bottleneck, name=f'layer{stage}_{number}')(
          maps, train, mask
        )
    if not self.num_classes:
      return maps
    vectors = jnp.mean(maps, axis=(1, 2))
    return layers.Dense(self.num_classes, name='fc')(vectors).astype(jnp.float32)


class Block(nn.Module):
  """Convolutions with BatchNorm, added to their own input.

  Attributes:
    width: The number of filters of the 3x3 convolutions.
    strides: The strides of the block.
    bottleneck: Whether the block is a bottleneck, as in `ImageNetResNet`.
  """

  width: int
  strides: int
  bottleneck: bool

  @nn.compact
  def __call__(self, maps: Maps, train: bool, mask: Mask | None) -> NewMaps:
    """Maps [B, H, W, C] to [B, H / strides, W / strides, C']."""
    outer = self.width * (4 if self.bottleneck else 1)
    # (filters, window, step) of each convolution
    plan: tuple[tuple[int, int, int], ...]
    if self.bottleneck:
      plan = ((self.width, 1, 1), (self.width, 3, self.strides), (outer, 1, 1))
    else:
      plan = ((self.width, 3, self.strides), (self.width, 3, 1))
    residual = maps
    for number, (features, window, strides) in enumerate(plan, 1):
      border = ((window // 2, window // 2),) * 2
      conv = layers.Conv(features, window, strides, border, use_bias=False, name=f'conv{number}')
      maps = _norm(f'bn{number}')(conv(maps), not train, mask)
      if number < len(plan):
        maps = jax.nn.relu(maps)
    if self.strides > 1 or residual.shape[-1] != outer:
      project = layers.Conv(outer, 1, self.strides, 'VALID', use_bias=False, name='downsample_conv')
      residual = _norm('downsample_bn')(project(residual), not train, mask)
    return jax.nn.relu(maps + residual)


def _norm(name: str) -> layers.BatchNorm:
  return layers.BatchNorm(momentum=_MOMENTUM, epsilon=_EPSILON, name=name)


def from_torch(name: str) -> Place | None:
  """Where a tensor of torchvision belongs: 'layer1.0.bn1.running_mean'."""
  layer, _, kind = name.rpartition('.')
  layer = re.sub(r'^layer(\d)\.(\d+)\.', r'layer\1_\2.', layer)
  layer = layer.replace('downsample.0', 'downsample_conv').replace('downsample.1', 'downsample_bn')
  path = tuple(layer.split('.'))
  if path[-1] == 'fc':
    return {
      'weight': Place('params', (*path, 'kernel'), dense),
      'bias': Place('params', (*path, 'bias'), vector),
    }.get(kind)
  if re.fullmatch(r'conv\d|downsample_conv', path[-1]):
    return Place('params', (*path, 'kernel'), convolution) if kind == 'weight' else None
  if re.fullmatch(r'bn\d|downsample_bn', path[-1]) and kind in BATCH_NORM:
    collection, leaf = BATCH_NORM[kind]
    return Place(collection, (*path, leaf), vector)
  return None
