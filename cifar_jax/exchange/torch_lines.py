"""A layer of a network as a line of a PyTorch module: its name and an expression that makes it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn

from cifar_jax import layers
from cifar_jax.exchange.layer_calls import Call
from cifar_jax.layers.window import pair
from cifar_jax.models import (
  airbench_net,
  conv_units,
  convnext,
  densenet,
  mobilenet_v2,
  patches,
  preact_resnet,
  resnet,
)
from cifar_jax.utils.errors import UserError

Lines = list[tuple[str, str]]  # name and expression of each layer

ACTIVATIONS = {
  'celu': 'CELU',
  'elu': 'ELU',
  'gelu': 'GELU',
  'hard_sigmoid': 'Hardsigmoid',
  'hard_silu': 'Hardswish',
  'leaky_relu': 'LeakyReLU',
  'linear': 'Identity',
  'mish': 'Mish',
  'relu': 'ReLU',
  'relu6': 'ReLU6',
  'selu': 'SELU',
  'sigmoid': 'Sigmoid',
  'silu': 'SiLU',
  'softplus': 'Softplus',
  'softsign': 'Softsign',
  'tanh': 'Tanh',
}


def text_of_call(name: str, *arguments: object, **options: object) -> str:
  """The text of a call; arguments of None are left out."""
  words = [str(argument) for argument in arguments]
  words += [f'{key}={value}' for key, value in options.items() if value is not None]
  return f'{name}({", ".join(words)})'


def _activation(spec: str) -> tuple[str, str]:
  """The class of an activation and the text of its arguments."""
  name, _, number = spec.partition('(')
  return f'nn.{ACTIVATIONS[name]}', number.removesuffix(')').strip()


def _factory(spec: str) -> str | None:
  """The text of a function that makes an activation; None for ReLU, the default of most."""
  name, number = _activation(spec)
  return None if name == 'nn.ReLU' else f'lambda: {name}({number})' if number else name


def _size(numbers: Sequence[int]) -> object:
  return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)


def _margins(
  padding: Any, shape: Sequence[int], window: Sequence[int], strides: Sequence[int]
) -> list[tuple[int, int]]:
  """Pixels before and after the rows and the columns of maps (H, W, C), as XLA puts them."""
  if padding == 'VALID':
    return [(0, 0), (0, 0)]
  if padding != 'SAME':
    return [tuple(pads) for pads in padding]
  margins = []
  for size, reach, step in zip(shape[:2], window, strides, strict=True):
    total = max((-(-size // step) - 1) * step + reach - size, 0)
    margins.append((total // 2, total - total // 2))
  return margins


def _window(
  call: Call, padding: Any, reach: Sequence[int], strides: Sequence[int], fill: str
) -> tuple[Lines, object]:
  """The layer that pads maps where PyTorch's own padding, alike on both sides, does not do; and
  that padding.
  """
  (top, bottom), (left, right) = _margins(padding, call.input_shape, reach, strides)
  if top == bottom and left == right:
    return [], _size((top, left)) if top or left else None
  pad = text_of_call('nn.ConstantPad2d', (left, right, top, bottom), fill)
  return [(f'{call.path[-1]}_pad', pad)], None


def _conv(call: Call) -> Lines:
  conv, name = call.module, call.path[-1]
  kernel, strides, dilation = map(pair, (conv.kernel_size, conv.strides, conv.kernel_dilation))
  reach = [(size - 1) * step + 1 for size, step in zip(kernel, dilation, strict=True)]
  lines, padding = _window(call, conv.padding, reach, strides, '0.0')
  options = {
    'stride': None if strides == (1, 1) else _size(strides),
    'padding': padding,
    'dilation': None if dilation == (1, 1) else _size(dilation),
    'groups': None if conv.feature_group_count == 1 else conv.feature_group_count,
    'bias': None if conv.use_bias else False,
  }
  inputs = call.input_shape[-1]
  lines.append((name, text_of_call('nn.Conv2d', inputs, conv.features, _size(kernel), **options)))
  return lines + _with_activation(call)


def _with_activation(call: Call) -> Lines:
  if call.module.activation == 'linear':
    return []
  name, number = _activation(call.module.activation)
  return [(f'{call.path[-1]}_{name.removeprefix("nn.").lower()}', f'{name}({number})')]


def _dense(call: Call) -> Lines:
  if len(call.input_shape) != 1:
    raise UserError(
      f'the dense layer {call.path[-1]} on maps has no counterpart in PyTorch here; a 1x1 '
      'convolution is the same'
    )
  bias = None if call.module.use_bias else False
  line = text_of_call('nn.Linear', call.input_shape[0], call.module.features, bias=bias)
  return [(call.path[-1], line), *_with_activation(call)]


def _batch_norm(call: Call) -> Lines:
  norm, rank = call.module, len(call.input_shape)
  kind = 'nn.BatchNorm2d' if rank == 3 else 'nn.BatchNorm1d'
  momentum = round(1 - norm.momentum, 10)  # PyTorch's is the share of the new value
  line = text_of_call(kind, call.input_shape[-1], eps=norm.epsilon, momentum=momentum)
  return [(call.path[-1], line)]


def _layer_norm(call: Call) -> Lines:
  kind = 'LayerNorm2d' if len(call.input_shape) == 3 else 'nn.LayerNorm'
  return [(call.path[-1], text_of_call(kind, call.input_shape[-1], call.module.epsilon))]


def _max_pool(call: Call) -> Lines:
  window, strides = _pool_window(call)
  lines, padding = _window(call, call.module.padding, window, strides, "float('-inf')")
  step = None if strides == window else _size(strides)
  line = text_of_call('nn.MaxPool2d', _size(window), stride=step, padding=padding)
  return [*lines, (call.path[-1], line)]


def _average_pool(call: Call) -> Lines:
  window, strides = _pool_window(call)
  (top, bottom), (left, right) = _margins(call.module.padding, call.input_shape, window, strides)
  if not (top or bottom or left or right):
    step = None if strides == window else _size(strides)
    return [(call.path[-1], text_of_call('nn.AvgPool2d', _size(window), stride=step))]
  border = (left, right, top, bottom)
  return [(call.path[-1], text_of_call('AveragePool', window, strides, border))]


def _pool_window(call: Call) -> tuple[tuple[int, int], tuple[int, int]]:
  window = pair(call.module.window_shape)
  return window, window if call.module.strides is None else pair(call.module.strides)


def _global_average_pool(call: Call) -> Lines:
  name = call.path[-1]
  return [(name, 'nn.AdaptiveAvgPool2d(1)'), (f'{name}_flatten', 'nn.Flatten()')]


def _flatten(call: Call) -> Lines:
  return [(call.path[-1], 'nn.Flatten()')]


def _dropout(call: Call) -> Lines:
  return [(call.path[-1], f'nn.Dropout({call.module.rate!r})')]


def _activation_layer(call: Call) -> Lines:
  name, number = _activation(call.module.activation)
  return [(call.path[-1], f'{name}({number})')]


def _conv_norm(call: Call) -> Lines:
  unit = call.module
  if not unit.use_scale:
    raise UserError(f'the layer {call.path[-1]} has no counterpart: its BatchNorm has no factor')
  options = {
    'stride': None if unit.strides == 1 else unit.strides,
    'groups': None if unit.groups == 1 else unit.groups,
    'activation': _factory(unit.activation),
  }
  inputs = call.input_shape[-1]
  return [
    (call.path[-1], text_of_call('ConvNorm', inputs, unit.features, unit.kernel_size, **options))
  ]


def _norm_activation(call: Call) -> Lines:
  return [(call.path[-1], text_of_call('NormActivation', call.input_shape[-1]))]


def _logits(call: Call) -> Lines:
  head = call.module
  dropout = head.dropout or None
  line = text_of_call('Logits', call.input_shape[-1], head.num_classes, dropout=dropout)
  return [(call.path[-1], line)]


def _residual_block(call: Call) -> Lines:
  block = call.module
  bottleneck = block.block == 'bottleneck'
  options = {
    'stride': None if block.strides == 1 else block.strides,
    'inner': block.width * block.group_width // 64 * block.groups if bottleneck else None,
    'groups': block.groups if bottleneck and block.groups > 1 else None,
    'squeeze': block.squeeze or None,
    'shortcut': None if block.shortcut == 'project' else repr(block.shortcut),
  }
  return [(call.path[-1], text_of_call('ResidualBlock', *_channels(call), **options))]


def _pre_activation_block(call: Call) -> Lines:
  block = call.module
  options = {
    'stride': None if block.strides == 1 else block.strides,
    'inner': block.width if block.block == 'bottleneck' else None,
    'dropout': block.dropout or None,
  }
  return [(call.path[-1], text_of_call('PreActivationBlock', *_channels(call), **options))]


def _inverted_residual(call: Call) -> Lines:
  block = call.module
  options = {'stride': block.strides, 'expansion': block.expansion}
  return [(call.path[-1], text_of_call('InvertedResidual', *_channels(call), **options))]


def _group(call: Call) -> Lines:
  group = call.module
  name, number = _activation(group.activation)
  options = {
    'count': group.count,
    'residual': group.residual,
    'activation': f'lambda: {name}({number})' if number else name,
    'momentum': round(1 - group.momentum, 10),
    'eps': group.epsilon,
  }
  return [(call.path[-1], text_of_call('Group', *_channels(call), **options))]


def _dense_layer(call: Call) -> Lines:
  layer = call.module
  options = {'growth': layer.growth, 'bottleneck': layer.bottleneck}
  line = text_of_call('DenseLayer', call.input_shape[-1], **options, dropout=layer.dropout or None)
  return [(call.path[-1], line)]


def _transition(call: Call) -> Lines:
  line = text_of_call('Transition', *_channels(call), dropout=call.module.dropout or None)
  return [(call.path[-1], line)]


def _convnext_block(call: Call) -> Lines:
  return [(call.path[-1], text_of_call('ConvNeXtBlock', call.input_shape[-1]))]


def _channels(call: Call) -> tuple[int, int]:
  return call.input_shape[-1], call.output_shape[-1]


WRITERS: Mapping[type, Callable[[Call], Lines]] = {
  layers.Activation: _activation_layer,
  layers.AveragePool: _average_pool,
  layers.BatchNorm: _batch_norm,
  layers.Conv: _conv,
  layers.Dense: _dense,
  layers.Dropout: _dropout,
  layers.Flatten: _flatten,
  layers.GlobalAveragePool: _global_average_pool,
  layers.MaxPool: _max_pool,
  nn.LayerNorm: _layer_norm,
  airbench_net.Group: _group,
  conv_units.ConvNorm: _conv_norm,
  conv_units.Logits: _logits,
  conv_units.NormActivation: _norm_activation,
  convnext.ConvNeXtBlock: _convnext_block,
  densenet.DenseLayer: _dense_layer,
  densenet.Transition: _transition,
  mobilenet_v2.InvertedResidual: _inverted_residual,
  preact_resnet.PreActivationBlock: _pre_activation_block,
  resnet.ResidualBlock: _residual_block,
}


def _vit(module: Any, image_shape: Sequence[int]) -> tuple[str, dict[str, Any]]:
  own = {'heads': module.heads, 'units': module.hidden_factor * module.width}
  return 'VisionTransformer', _of_patches(module, image_shape, own)


def _mixer(module: Any, image_shape: Sequence[int]) -> tuple[str, dict[str, Any]]:
  own = {'token_units': module.token_units, 'channel_units': module.channel_units}
  return 'MlpMixer', _of_patches(module, image_shape, own)


def _of_patches(module: Any, image_shape: Sequence[int], own: Mapping[str, Any]) -> dict[str, Any]:
  """The arguments of a network of patches, with its own between those that all of them have."""
  height, width, channels = image_shape
  return {
    'shape': (channels, height, width),
    'patch': module.patch,
    'width': module.width,
    'depth': module.depth,
    **own,
    'classes': module.num_classes,
    'dropout': module.dropout,
  }


# Networks that are no chain of layers, and are one class there.
WHOLE: Mapping[type, Callable[[Any, Sequence[int]], tuple[str, dict[str, Any]]]] = {
  patches.VisionTransformer: _vit,
  patches.MlpMixer: _mixer,
}
