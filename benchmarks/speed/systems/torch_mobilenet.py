"""The networks of `mobilenet_v2` built of PyTorch modules, for comparison."""

import torch
from ml_collections import ConfigDict
from torch import nn

from cifar_jax.models.mobilenet_v2 import multiple_of_8

# Expansion, filters, blocks, stride of the first one: the table of the paper, with a stride of 1
# for its second row.
_STAGES = (
  *((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2)),
  *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)


def build(config: ConfigDict) -> nn.Module:
  """Returns the network; its stem keeps the size of the images."""
  width = config.model.width
  channels = multiple_of_8(32 * width)
  modules = _conv_norm(3, channels, 3, 1)
  for expansion, filters, count, strides in _STAGES:
    features = multiple_of_8(filters * width)
    for number in range(count):
      modules.append(_Block(channels, features, expansion, 1 if number else strides))
      channels = features
  last = multiple_of_8(1280 * max(width, 1.0))
  modules += [*_conv_norm(channels, last, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
  return nn.Sequential(*modules, nn.Dropout(config.model.dropout), nn.Linear(last, 10))


class _Block(nn.Module):
  """x + branch(x), or branch(x) where the shape changes: expand, convolve each channel, project."""

  def __init__(self, channels: int, features: int, expansion: int, strides: int) -> None:
    super().__init__()
    inner = channels * expansion
    expand = _conv_norm(channels, inner, 1, 1) if expansion > 1 else []
    depthwise = _conv_norm(inner, inner, 3, strides, groups=inner)
    project = _conv_norm(inner, features, 1, 1)[:2]
    self.branch = nn.Sequential(*expand, *depthwise, *project)
    self.adds = strides == 1 and channels == features

  def forward(self, maps: torch.Tensor) -> torch.Tensor:
    return maps + self.branch(maps) if self.adds else self.branch(maps)


def _conv_norm(
  channels: int, features: int, window: int, strides: int, groups: int = 1
) -> list[nn.Module]:
  conv = nn.Conv2d(channels, features, window, strides, window // 2, groups=groups, bias=False)
  return [conv, nn.BatchNorm2d(features), nn.ReLU6(inplace=True)]
