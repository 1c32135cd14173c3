"""The networks of `cifar_jax.models.conv_net` built of PyTorch modules, for comparison."""

import torch
from ml_collections import ConfigDict
from torch import nn

from cifar_jax.models.conv_net import parse_blocks, parse_head
from cifar_jax.models.layer_words import (
  BatchNormWord,
  ConvWord,
  DenseWord,
  DropoutWord,
  FlattenWord,
  LayerWord,
  PoolWord,
)


def build(config: ConfigDict) -> nn.Module:
  """Returns the network; it maps [B, 3, 32, 32] to logits [B, 10]."""
  modules: list[nn.Module] = []
  shape = torch.Size([2, 3, 32, 32])

  def add(word: LayerWord, width: int = 0) -> None:
    nonlocal shape
    modules.extend(_modules(word, config.model.activation, shape[1], width))
    shape = nn.Sequential(*modules)(torch.zeros(2, 3, 32, 32)).shape

  blocks = parse_blocks(config.model.widths, config.model.block)
  for width, words in zip(config.model.widths, blocks, strict=True):
    for word in words:
      add(word, width)
  for word in parse_head(config.model.head):
    add(word)
  return nn.Sequential(*modules, nn.Linear(shape[1], 10))


def optimizer(config: ConfigDict, model: nn.Module) -> torch.optim.Optimizer:
  """Returns the optimiser of the config in PyTorch's fastest form for CPU."""
  rate = config.optimizer.learning_rate
  if config.optimizer.name == 'keras_rmsprop':
    return torch.optim.RMSprop(model.parameters(), rate, alpha=0.9)
  return torch.optim.Adam(model.parameters(), rate, fused=True)


def _modules(word: LayerWord, activation: str, channels: int, width: int) -> list[nn.Module]:
  activations = {'relu': nn.ReLU, 'sigmoid': nn.Sigmoid, 'tanh': nn.Tanh}
  match word:
    case ConvWord(stride=1, dilation=1):
      features = round(width * word.width_factor)
      conv = nn.Conv2d(channels, features, word.kernel, padding=word.padding)
      return [conv, activations[word.activation or activation]()]
    case PoolWord(kind='max_pool', padding='valid'):
      return [nn.MaxPool2d(word.window, word.stride)]
    case BatchNormWord():
      return [nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)]
    case DropoutWord():
      return [nn.Dropout(word.rate)]
    case DenseWord():
      return [nn.Linear(channels, word.units), activations[word.activation or activation]()]
    case FlattenWord():
      return [nn.Flatten()]
  raise ValueError(f'no PyTorch module for {word}')
