"""The networks of `convnext` built of PyTorch modules, for comparison."""

import torch
from ml_collections import ConfigDict
from torch import nn

from benchmarks.speed.systems.torch_vit import drop_path
from cifar_jax import layers


def build(config: ConfigDict) -> nn.Module:
  """Returns the network."""
  options = config.model
  rates = iter(layers.linear_drop_path_rates(options.drop_path, sum(options.depths)))
  modules: list[nn.Module] = []
  channels = 3
  for stage, (width, depth) in enumerate(zip(options.widths, options.depths, strict=True)):
    window = 2 if stage else options.patch
    halve = nn.Conv2d(channels, width, window, window)
    modules += [_Norm(channels), halve] if stage else [halve, _Norm(width)]
    modules += [_Block(width, next(rates)) for _ in range(depth)]
    channels = width
  modules += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LayerNorm(channels, 1e-6)]
  return nn.Sequential(*modules, nn.Linear(channels, 10))


class _Norm(nn.LayerNorm):
  """Normalization over the channels of [B, C, H, W], which lie beside each other in memory."""

  def __init__(self, channels: int) -> None:
    super().__init__(channels, 1e-6)

  def forward(self, maps: torch.Tensor) -> torch.Tensor:
    return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Block(nn.Module):
  """x + scale * dense(gelu(dense(norm(depthwise 7x7(x)))))."""

  def __init__(self, width: int, rate: float) -> None:
    super().__init__()
    self.rate = rate
    self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
    self.dense = nn.Sequential(
      nn.LayerNorm(width, 1e-6),
      nn.Linear(width, 4 * width),
      nn.GELU(),
      nn.Linear(4 * width, width),
      _Scale(width),
    )

  def forward(self, maps: torch.Tensor) -> torch.Tensor:
    branch = self.dense(self.depthwise(maps).permute(0, 2, 3, 1))
    return maps + drop_path(branch.permute(0, 3, 1, 2), self.rate, self.training)


class _Scale(nn.Module):
  """A learned factor of each channel."""

  def __init__(self, channels: int) -> None:
    super().__init__()
    self.factor = nn.Parameter(torch.full((channels,), 1e-6))

  def forward(self, vectors: torch.Tensor) -> torch.Tensor:
    return vectors * self.factor
