"""The networks of `resnet` built of PyTorch modules, for comparison."""

import torch
from ml_collections import ConfigDict
from torch import nn

from cifar_jax import models


def build(config: ConfigDict) -> nn.Module:
  """Returns the network; squeezed, grouped and bottleneck blocks are not built."""
  network = models.create(config.model, 10)
  if network.block != 'basic' or network.squeeze:
    raise ValueError('of ResNets, those of basic blocks are built here')
  modules = [*_conv_norm(3, network.widths[0], 3, 1), nn.ReLU(inplace=True)]
  channels = network.widths[0]
  for stage, (width, count) in enumerate(zip(network.widths, network.blocks(), strict=True)):
    for number in range(count):
      strides = 2 if stage and not number else 1
      modules.append(_Block(channels, width, strides, network.shortcut))
      channels = width
  return nn.Sequential(*modules, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))


class _Block(nn.Module):
  """relu(shortcut(x) + branch(x)) with two 3x3 convolutions."""

  def __init__(self, channels: int, width: int, strides: int, shortcut: str) -> None:
    super().__init__()
    self.branch = nn.Sequential(
      *_conv_norm(channels, width, 3, strides),
      nn.ReLU(inplace=True),
      *_conv_norm(width, width, 3, 1),
    )
    self.shortcut: nn.Module = nn.Identity()
    if strides > 1 or channels != width:
      projected = shortcut == 'project'
      self.shortcut = (
        nn.Sequential(*_conv_norm(channels, width, 1, strides))
        if projected
        else _Padded(strides, width - channels)
      )

  def forward(self, maps: torch.Tensor) -> torch.Tensor:
    return torch.relu_(self.branch(maps) + self.shortcut(maps))


class _Padded(nn.Module):
  """Every other pixel, and zeros for new channels."""

  def __init__(self, strides: int, new: int) -> None:
    super().__init__()
    self.strides, self.new = strides, new

  def forward(self, maps: torch.Tensor) -> torch.Tensor:
    kept = maps[:, :, :: self.strides, :: self.strides]
    return nn.functional.pad(kept, (0, 0, 0, 0, 0, self.new))


def _conv_norm(channels: int, width: int, window: int, strides: int) -> list[nn.Module]:
  conv = nn.Conv2d(channels, width, window, strides, window // 2, bias=False)
  return [conv, nn.BatchNorm2d(width)]
