"""Networks on patches."""

import torch
from torch import nn
from torch.nn import functional


class Patches(nn.Module):
  """Cuts images into patches and makes a token of each, rows first."""

  def __init__(self, channels, size, width):
    super().__init__()
    self.Conv_0 = nn.Conv2d(channels, width, size, size)

  def forward(self, x):
    return self.Conv_0(x).flatten(2).mT


class Attention(nn.Module):
  """Self-attention of several heads."""

  def __init__(self, width, heads):
    super().__init__()
    self.heads = heads
    for name in ('query', 'key', 'value', 'out'):
      self.add_module(name, nn.Linear(width, width))

  def forward(self, tokens):
    def split(values):
      return values.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    mixed = functional.scaled_dot_product_attention(
      split(self.query(tokens)), split(self.key(tokens)), split(self.value(tokens))
    )
    return self.out(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
  """Two linear layers with GELU between them."""

  def __init__(self, width, units, dropout=0.0):
    super().__init__()
    self.Dense_0, self.Dense_1 = nn.Linear(width, units), nn.Linear(units, width)
    self.dropout = nn.Dropout(dropout)

  def forward(self, x):
    return self.dropout(self.Dense_1(self.dropout(functional.gelu(self.Dense_0(x)))))


class VisionTransformer(nn.Module):
  """Patches with learned positions and a class token, encoded by self-attention."""

  def __init__(self, shape, patch, width, depth, heads, units, classes, dropout=0.0):
    super().__init__()
    channels, height, image_width = shape
    tokens = (height // patch) * (image_width // patch)
    self.depth, self.dropout = depth, nn.Dropout(dropout)
    self.patches = Patches(channels, patch, width)
    self.class_token = nn.Parameter(torch.zeros(1, 1, width))
    self.positions = nn.Parameter(torch.zeros(1, 1 + tokens, width))
    for number in range(depth):
      self.add_module(f'LayerNorm_{2 * number}', nn.LayerNorm(width, 1e-6))
      self.add_module(f'block{number}_attention', Attention(width, heads))
      self.add_module(f'LayerNorm_{2 * number + 1}', nn.LayerNorm(width, 1e-6))
      self.add_module(f'block{number}_mlp', Mlp(width, units, dropout))
    self.add_module(f'LayerNorm_{2 * depth}', nn.LayerNorm(width, 1e-6))
    self.logits = nn.Linear(width, classes)

  def forward(self, x):
    tokens = self.patches(x)
    tokens = torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], 1)
    tokens = self.dropout(tokens + self.positions)
    parts = dict(self.named_children())
    for number in range(self.depth):
      y = parts[f'block{number}_attention'](parts[f'LayerNorm_{2 * number}'](tokens))
      tokens = tokens + self.dropout(y)
      tokens = tokens + parts[f'block{number}_mlp'](parts[f'LayerNorm_{2 * number + 1}'](tokens))
    return self.logits(parts[f'LayerNorm_{2 * self.depth}'](tokens)[:, 0])


class MlpMixer(nn.Module):
  """Patches, mixed in turn across places and across channels."""

  def __init__(self, shape, patch, width, depth, token_units, channel_units, classes, dropout=0.0):
    super().__init__()
    channels, height, image_width = shape
    tokens = (height // patch) * (image_width // patch)
    self.depth = depth
    self.patches = Patches(channels, patch, width)
    for number in range(depth):
      self.add_module(f'LayerNorm_{2 * number}', nn.LayerNorm(width, 1e-6))
      self.add_module(f'block{number}_tokens', Mlp(tokens, token_units, dropout))
      self.add_module(f'LayerNorm_{2 * number + 1}', nn.LayerNorm(width, 1e-6))
      self.add_module(f'block{number}_channels', Mlp(width, channel_units, dropout))
    self.add_module(f'LayerNorm_{2 * depth}', nn.LayerNorm(width, 1e-6))
    self.logits = nn.Linear(width, classes)

  def forward(self, x):
    tokens = self.patches(x)
    parts = dict(self.named_children())
    for number in range(self.depth):
      y = parts[f'LayerNorm_{2 * number}'](tokens).mT
      tokens = tokens + parts[f'block{number}_tokens'](y).mT
      y = parts[f'LayerNorm_{2 * number + 1}'](tokens)
      tokens = tokens + parts[f'block{number}_channels'](y)
    return self.logits(parts[f'LayerNorm_{2 * self.depth}'](tokens).mean(1))
