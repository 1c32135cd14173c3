"""The networks of `densenet` built of PyTorch modules, for comparison."""

import torch
from ml_collections import ConfigDict
from torch import nn

from cifar_jax import models


def build(config: ConfigDict) -> nn.Module:
  """Returns the network, as one writes it: each layer's inputs are concatenated and kept; those
  of bottlenecks are not built.
  """
  network = models.create(config.model, 10)
  if network.bottleneck or network.remat:
    raise ValueError('of DenseNets, those without bottlenecks that keep all maps are built here')
  channels = 16
  modules: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1, bias=False)]
  for block in range(3):
    if block:
      kept = int(channels * network.compression)
      modules += [*_norm_conv(channels, kept, 1, network.dropout), nn.AvgPool2d(2)]
      channels = kept
    for _ in range(network.layers_a_block()):
      modules.append(_Layer(channels, network.growth, network.dropout))
      channels += network.growth
  modules += [nn.BatchNorm2d(channels), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1)]
  return nn.Sequential(*modules, nn.Flatten(), nn.Linear(channels, 10))


class _Layer(nn.Module):
  """The maps, and behind them those that they make."""

  def __init__(self, channels: int, growth: int, dropout: float) -> None:
    super().__init__()
    self.new = nn.Sequential(*_norm_conv(channels, growth, 3, dropout))

  def forward(self, maps: torch.Tensor) -> torch.Tensor:
    return torch.cat([maps, self.new(maps)], 1)


def _norm_conv(channels: int, features: int, window: int, dropout: float) -> list[nn.Module]:
  conv = nn.Conv2d(channels, features, window, padding=window // 2, bias=False)
  end = [nn.Dropout(dropout)] if dropout else []
  return [nn.BatchNorm2d(channels), nn.ReLU(inplace=True), conv, *end]
