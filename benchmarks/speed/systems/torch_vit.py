"""The networks of `vit` built of PyTorch modules, for comparison."""

import torch
from ml_collections import ConfigDict
from torch import nn

from cifar_jax import layers


def build(config: ConfigDict) -> nn.Module:
  """Returns the network, as one writes it with PyTorch's fused attention; without dropout."""
  if config.model.dropout:
    raise ValueError('vision transformers with dropout are not built here')
  return _VisionTransformer(config.model)


class _VisionTransformer(nn.Module):
  def __init__(self, options: ConfigDict) -> None:
    super().__init__()
    width = options.width
    self.patches = nn.Conv2d(3, width, options.patch, options.patch)
    self.token = nn.Parameter(torch.zeros(1, 1, width))
    self.positions = nn.Parameter(0.02 * torch.randn(1, (32 // options.patch) ** 2 + 1, width))
    rates = layers.linear_drop_path_rates(options.drop_path, options.depth)
    blocks = [_Block(width, options.heads, options.hidden_factor, rate) for rate in rates]
    self.blocks = nn.Sequential(*blocks)
    self.norm = nn.LayerNorm(width, 1e-6)
    self.logits = nn.Linear(width, 10)

  def forward(self, images: torch.Tensor) -> torch.Tensor:
    tokens = self.patches(images).flatten(2).transpose(1, 2)
    first = self.token.expand(len(tokens), -1, -1).to(tokens.dtype)
    tokens = torch.cat([first, tokens], 1) + self.positions
    return self.logits(self.norm(self.blocks(tokens))[:, 0])


class _Block(nn.Module):
  """x + attention(norm(x)), then x + mlp(norm(x))."""

  def __init__(self, width: int, heads: int, hidden_factor: int, rate: float) -> None:
    super().__init__()
    self.heads, self.rate = heads, rate
    self.norms = nn.ModuleList([nn.LayerNorm(width, 1e-6) for _ in range(2)])
    self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
    hidden = hidden_factor * width
    self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

  def forward(self, tokens: torch.Tensor) -> torch.Tensor:
    branch = self._attend(self.norms[0](tokens))
    tokens = tokens + drop_path(branch, self.rate, self.training)
    branch = self.mlp(self.norms[1](tokens))
    return tokens + drop_path(branch, self.rate, self.training)

  def _attend(self, tokens: torch.Tensor) -> torch.Tensor:
    batch, count, width = tokens.shape
    projected = self.project(tokens).view(batch, count, 3, self.heads, width // self.heads)
    query, key, value = projected.permute(2, 0, 3, 1, 4)
    mixed = nn.functional.scaled_dot_product_attention(query, key, value)
    return self.out(mixed.transpose(1, 2).reshape(batch, count, width))


def drop_path(branch: torch.Tensor, rate: float, training: bool) -> torch.Tensor:
  """Stochastic depth, for each example by itself."""
  if not rate or not training:
    return branch
  kept = torch.empty(len(branch), *(1,) * (branch.ndim - 1), dtype=branch.dtype)
  return branch * kept.bernoulli_(1 - rate).to(branch.device).div_(1 - rate)
