"""Blocks of the convolutional families."""

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional

from cifar_jax.exchange.torch_layers.layers import ConvNorm, NormActivation, SqueezeExcite


class PadShortcut(nn.Module):
  """Every other pixel, and zeros for new channels: a shortcut without parameters."""

  def __init__(self, outputs, stride):
    super().__init__()
    self.outputs, self.stride = outputs, stride

  def forward(self, x):
    x = x[:, : self.outputs, :: self.stride, :: self.stride]
    return functional.pad(x, (0, 0, 0, 0, 0, self.outputs - x.shape[1]))


class ResidualBlock(nn.Module):
  """relu(shortcut(x) + branch(x)); `inner` makes the branch a bottleneck of that width."""

  def __init__(
    self, inputs, outputs, stride=1, inner=None, groups=1, squeeze=0, shortcut='project'
  ):
    super().__init__()
    if inner is None:
      units = [
        ConvNorm(inputs, outputs, 3, stride),
        ConvNorm(outputs, outputs, 3, activation=nn.Identity),
      ]
    else:
      units = [
        ConvNorm(inputs, inner, 1),
        ConvNorm(inner, inner, 3, stride, groups),
        ConvNorm(inner, outputs, 1, activation=nn.Identity),
      ]
    self.branch = [f'ConvNorm_{number}' for number in range(len(units))]
    for name, unit in zip(self.branch, units, strict=True):
      self.add_module(name, unit)
    if squeeze:
      self.branch.append('SqueezeExcite_0')
      self.SqueezeExcite_0 = SqueezeExcite(outputs, squeeze)
    self.shortcut = None
    if stride > 1 or inputs != outputs:
      if shortcut == 'project':
        self.shortcut = f'ConvNorm_{len(units)}'
        unit = ConvNorm(inputs, outputs, 1, stride, activation=nn.Identity)
      else:
        self.shortcut, unit = 'pad', PadShortcut(outputs, stride)
      self.add_module(self.shortcut, unit)

  def forward(self, x):
    y = x
    for name in self.branch:
      y = self.get_submodule(name)(y)
    return functional.relu(y + (self.get_submodule(self.shortcut)(x) if self.shortcut else x))


class PreActivationBlock(nn.Module):
  """x + branch(x), BatchNorm and ReLU before each convolution; `inner` makes a bottleneck."""

  def __init__(self, inputs, outputs, stride=1, inner=None, dropout=0.0):
    super().__init__()
    # Inputs, outputs, window and stride of each convolution.
    plan = [(inputs, outputs, 3, stride), (outputs, outputs, 3, 1)]
    if inner is not None:
      plan = [(inputs, inner, 1, 1), (inner, inner, 3, stride), (inner, outputs, 1, 1)]
    self.is_projected = stride > 1 or inputs != outputs
    if self.is_projected:
      self.Conv_0 = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
    self.branch = []
    for number, (entering, leaving, window, step) in enumerate(plan):
      names = f'NormActivation_{number}', f'Conv_{number + self.is_projected}'
      conv = nn.Conv2d(entering, leaving, window, step, window // 2, bias=False)
      self.add_module(names[0], NormActivation(entering))
      self.add_module(names[1], conv)
      self.branch.append(names)
    self.dropout = nn.Dropout(dropout)

  def forward(self, x):
    y = x
    for number, (norm, conv) in enumerate(self.branch):
      y = self.get_submodule(norm)(y)
      if number == 0 and self.is_projected:
        x = self.Conv_0(y)
      if number == 1:
        y = self.dropout(y)
      y = self.get_submodule(conv)(y)
    return x + y


class InvertedResidual(nn.Sequential):
  """Expand, convolve each channel by itself, project; added to the input where the shapes are
  equal.
  """

  def __init__(self, inputs, outputs, stride, expansion):
    inner = inputs * expansion
    units = [ConvNorm(inputs, inner, 1, activation=nn.ReLU6)] if expansion > 1 else []
    units += [
      ConvNorm(inner, inner, 3, stride, inner, nn.ReLU6),
      ConvNorm(inner, outputs, 1, activation=nn.Identity),
    ]
    super().__init__(OrderedDict((f'ConvNorm_{n}', unit) for n, unit in enumerate(units)))
    self.is_added = stride == 1 and inputs == outputs

  def forward(self, x):
    return x + super().forward(x) if self.is_added else super().forward(x)


class Group(nn.Module):
  """3x3 convolutions of one width, each with BatchNorm; the maps are halved after the first."""

  def __init__(self, inputs, outputs, count, residual, activation, momentum, eps):
    super().__init__()
    self.count, self.residual = count, residual
    for number in range(count):
      entering = outputs if number else inputs
      norm = nn.BatchNorm2d(outputs, eps, momentum)
      norm.weight.requires_grad = False  # there is none; it stays 1
      self.add_module(f'Conv_{number}', nn.Conv2d(entering, outputs, 3, padding=1, bias=False))
      self.add_module(f'BatchNorm_{number}', norm)
    self.pool, self.activation = nn.MaxPool2d(2), activation()

  def forward(self, x):
    first = x
    for number in range(self.count):
      x = self.get_submodule(f'Conv_{number}')(x)
      if number == 0:
        x = self.pool(x)
      x = self.get_submodule(f'BatchNorm_{number}')(x)
      if self.residual and 0 < number == self.count - 1:
        x = x + first
      x = self.activation(x)
      if number == 0:
        first = x
    return x


class DenseLayer(nn.Sequential):
  """Adds the maps of one layer to those of all before it."""

  def __init__(self, inputs, growth, bottleneck, dropout=0.0):
    layers = OrderedDict()
    for number, (outputs, window) in enumerate(
      [(4 * growth, 1), (growth, 3)] if bottleneck else [(growth, 3)]
    ):
      layers[f'NormActivation_{number}'] = NormActivation(inputs)
      layers[f'Conv_{number}'] = nn.Conv2d(inputs, outputs, window, padding='same', bias=False)
      layers[f'Dropout_{number}'] = nn.Dropout(dropout)
      inputs = outputs
    super().__init__(layers)

  def forward(self, x):
    return torch.cat([x, super().forward(x)], 1)


class Transition(nn.Sequential):
  """A 1x1 convolution, then the mean of 2x2 pixels."""

  def __init__(self, inputs, outputs, dropout=0.0):
    super().__init__(
      OrderedDict(
        NormActivation_0=NormActivation(inputs),
        Conv_0=nn.Conv2d(inputs, outputs, 1, bias=False),
        Dropout_0=nn.Dropout(dropout),
        AveragePool_0=nn.AvgPool2d(2),
      )
    )


class ConvNeXtBlock(nn.Module):
  """x + scale * linear(gelu(linear(norm(depthwise 7x7(x)))))."""

  def __init__(self, channels):
    super().__init__()
    self.Conv_0 = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
    self.LayerNorm_0 = nn.LayerNorm(channels, 1e-6)
    self.Dense_0 = nn.Linear(channels, 4 * channels)
    self.Dense_1 = nn.Linear(4 * channels, channels)
    self.scale = nn.Parameter(torch.full((channels,), 1e-6))

  def forward(self, x):
    y = self.LayerNorm_0(self.Conv_0(x).movedim(1, -1))
    y = self.Dense_1(functional.gelu(self.Dense_0(y)))
    return x + (self.scale * y).movedim(-1, 1)
