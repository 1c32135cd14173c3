"""The networks of the configs built of PyTorch modules, for comparison."""

import torch
from ml_collections import ConfigDict
from torch import nn

from benchmarks.speed.systems import (
  torch_convnext,
  torch_densenet,
  torch_mobilenet,
  torch_resnet,
  torch_vit,
)
from cifar_jax import models
from cifar_jax.models.conv_net import parse_blocks, parse_head
from cifar_jax.models.layer_specs import (
  ActivationSpec,
  BatchNormSpec,
  ConvSpec,
  DenseSpec,
  DropoutSpec,
  FlattenSpec,
  LayerSpec,
  PoolSpec,
)


def build(config: ConfigDict) -> nn.Module:
  """Returns the network; it maps [B, 3, 32, 32] to logits [B, 10]."""
  build = {
    'airbench_net': _airbench_net,
    'conv_net': _conv_net,
    'convnext': torch_convnext.build,
    'densenet': torch_densenet.build,
    'mobilenet_v2': torch_mobilenet.build,
    'resnet': torch_resnet.build,
    'vgg': _conv_net,
    'vit': torch_vit.build,
  }
  return build[config.model.name](config)


def optimizer(config: ConfigDict, model: nn.Module) -> torch.optim.Optimizer:
  """Returns the optimizer of the config in PyTorch's fastest form for CPU, without parameter groups
  and without a bound on the weights.
  """
  options = config.optimizer
  rate, parameters = options.learning_rate, model.parameters()
  decay = options.weight_decay or 0.0
  match options.name:
    case 'adamw':
      groups = [
        {'params': [p for p in parameters if p.ndim > 1], 'weight_decay': decay},
        {'params': [p for p in model.parameters() if p.ndim < 2], 'weight_decay': 0.0},
      ]
      return torch.optim.AdamW(groups, rate, fused=True)
    case 'keras_adam':
      return torch.optim.Adam(parameters, rate, fused=True)
    case 'keras_rmsprop':
      return torch.optim.RMSprop(parameters, rate, alpha=0.9)
    case 'keras_sgd' | 'sgd':
      nesterov = bool(options.nesterov)
      return torch.optim.SGD(
        parameters, rate, options.momentum, weight_decay=decay, nesterov=nesterov, fused=True
      )
  raise ValueError(f'no PyTorch optimizer for {options.name}')


def _conv_net(config: ConfigDict) -> nn.Module:
  network = models.create(config.model, 10)
  modules: list[nn.Module] = []
  shape = torch.Size([2, 3, 32, 32])

  def add(word: LayerSpec, width: int = 0) -> None:
    nonlocal shape
    modules.extend(_modules(word, network.activation, shape[1], width))
    shape = nn.Sequential(*modules)(torch.zeros(2, 3, 32, 32)).shape

  blocks = parse_blocks(network.widths, network.block)
  for width, words in zip(network.widths, blocks, strict=True):
    for word in words:
      add(word, width)
  for word in parse_head(network.head):
    add(word)
  return nn.Sequential(*modules, nn.Linear(shape[1], 10))


def _airbench_net(config: ConfigDict) -> nn.Module:
  """Returns the module of an airbench network; `residual` is not built."""
  if config.model.residual or config.model.whitening_stride != 1:
    raise ValueError('airbench networks with residuals or strides are not built here')
  window = config.model.whitening_window
  channels = 6 * window**2
  modules: list[nn.Module] = [nn.Conv2d(3, channels, window), nn.GELU()]
  for width, count in zip(config.model.widths, config.model.convolutions, strict=True):
    for number in range(count):
      modules.append(nn.Conv2d(channels, width, 3, padding=1, bias=False))
      channels = width
      if number == 0:
        modules.append(nn.MaxPool2d(2))
      norm = nn.BatchNorm2d(width, momentum=1 - config.model.momentum)
      norm.weight.requires_grad_(False)
      modules += [norm, nn.GELU()]
  return nn.Sequential(
    *modules, nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(channels, 10, bias=False)
  )


def _modules(word: LayerSpec, activation: str, channels: int, width: int) -> list[nn.Module]:
  activations = {
    'linear': nn.Identity,
    'relu': nn.ReLU,
    'sigmoid': nn.Sigmoid,
    'tanh': nn.Tanh,
  }
  match word:
    case ConvSpec(stride=1, dilation=1):
      features = round(width * word.width_factor)
      conv = nn.Conv2d(channels, features, word.kernel, padding=word.padding)
      return [conv, activations[word.activation or activation]()]
    case PoolSpec(kind='max_pool', padding='valid'):
      return [nn.MaxPool2d(word.window, word.stride)]
    case ActivationSpec():
      return [activations[word.activation]()]
    case BatchNormSpec():
      return [nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)]
    case DropoutSpec():
      return [nn.Dropout(word.rate)]
    case DenseSpec():
      return [nn.Linear(channels, word.units), activations[word.activation or activation]()]
    case FlattenSpec():
      return [nn.Flatten()]
  raise ValueError(f'no PyTorch module for {word}')
