"""What each layer of this package is in Keras, and each operation that may stand between them."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import numpy as np

from cifar_jax import layers
from cifar_jax.layers.window import pair
from cifar_jax.utils.errors import UserError

Shape = tuple[int, ...]

# Words that Keras has too, with the same meaning; gelu is the exact one in both.
SAME_WORDS = (
  *('gelu', 'hard_sigmoid', 'hard_silu', 'linear', 'mish', 'relu', 'relu6', 'selu', 'sigmoid'),
  *('silu', 'softplus', 'softsign', 'tanh'),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Weight:
  """A variable of a layer.

  Attributes:
    name: Its name in Keras: 'kernel', 'bias', 'gamma', 'beta', 'moving_mean', 'moving_variance'.
    shape: Its shape in Keras.
    path: Where its values are among the variables of the network, such as ('params', 'Conv_0',
      'kernel'), of any shape of that many values.
    constant: Its values where the network has no variable for it.
  """

  name: str
  shape: Shape
  path: tuple[str, ...] = ()
  constant: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
  """A layer of Keras: the name of its class, what its constructor is given, its variables."""

  kind: str
  options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  weights: tuple[Weight, ...] = ()


def activation_steps(spec: str) -> list[Step]:
  """The layers of an activation's word, perhaps with a number, as in 'leaky_relu(0.003)'."""
  name, _, rest = spec.partition('(')
  number = float(rest.rstrip(' )')) if rest else {'leaky_relu': 0.01}.get(name, 1.0)
  if name in SAME_WORDS:
    return [] if name == 'linear' else [Step('Activation', {'activation': name})]
  if name == 'leaky_relu':
    return [Step('LeakyReLU', {'negative_slope': number})]
  if name == 'elu' or (name == 'celu' and number == 1):
    return [Step('ELU', {'alpha': number})]
  if name == 'celu':  # that of x is the number times the ELU of x over the number
    elu = Step('ELU', {'alpha': 1.0})
    return [rescaling(1 / number), elu, rescaling(number)]
  raise UserError(f'Keras has no layer for the activation {spec!r}')


def rescaling(scale: float, offset: float = 0.0) -> Step:
  """The inputs times a number, plus a number."""
  return Step('Rescaling', {'scale': float(scale), 'offset': float(offset)})


def _with_activation(step: Step, activation: str) -> list[Step]:
  """A layer with variables; its activation is its own if a word suffices, else a layer behind."""
  if activation in SAME_WORDS:
    return [dataclasses.replace(step, options={**step.options, 'activation': activation})]
  return [step, *activation_steps(activation)]


def _params(layer: nn.Module, *names: tuple[str, str, Shape]) -> tuple[Weight, ...]:
  """Variables in 'params' of a layer, each as its name in Keras, its name here and its shape."""
  return tuple(
    Weight(name, tuple(shape), ('params', *layer.path, ours)) for name, ours, shape in names
  )


def _dense(layer: Any, shape: Shape) -> list[Step]:
  weights = _params(layer, ('kernel', 'kernel', (shape[-1], layer.features)))
  if layer.use_bias:
    weights += _params(layer, ('bias', 'bias', (layer.features,)))
  step = Step('Dense', {'units': layer.features, 'use_bias': layer.use_bias}, weights)
  return _with_activation(step, getattr(layer, 'activation', 'linear'))


def _conv(layer: Any, shape: Shape) -> list[Step]:
  """A convolution; where Keras cannot dilate and step at once, a layer behind it steps."""
  window, strides = pair(layer.kernel_size), pair(layer.strides or 1)
  dilation, groups = pair(layer.kernel_dilation or 1), layer.feature_group_count
  if len(shape) != 4 or pair(getattr(layer, 'input_dilation', 1) or 1) != (1, 1):
    raise UserError(f"{'/'.join(layer.path)} is no convolution of Keras's")
  padding = layer.padding
  if isinstance(padding, int):
    padding = ((padding, padding),) * 2
  if isinstance(padding, str) and padding not in ('SAME', 'VALID'):
    raise UserError(f'{"/".join(layer.path)}: Keras has no padding {padding!r}')
  options: dict[str, Any] = {
    'kernel_size': window,
    'strides': strides,
    'dilation_rate': dilation,
    'use_bias': layer.use_bias,
  }
  before, after = [], []
  if max(strides) > 1 and max(dilation) > 1:
    reach = [(size - 1) * step + 1 for size, step in zip(window, dilation, strict=True)]
    if padding == 'SAME':
      padding = _same_margins(shape[1:3], reach, strides)
    options['strides'] = (1, 1)
    pool = {'pool_size': (1, 1), 'strides': strides, 'padding': 'valid'}
    after = [Step('MaxPooling2D', pool)]
  if not isinstance(padding, str):
    margins = tuple((int(low), int(high)) for low, high in padding)
    before = [Step('ZeroPadding2D', {'padding': margins})] if any(map(any, margins)) else []
    padding = 'VALID'
  options['padding'] = padding.lower()
  channels, each = shape[-1], layer.features // groups
  if groups == channels and groups > 1:
    options['depth_multiplier'] = each
    kind, kernel = 'DepthwiseConv2D', (*window, groups, each)
  else:
    options |= {'filters': layer.features, 'groups': groups}
    kind, kernel = 'Conv2D', (*window, channels // groups, layer.features)
  weights = _params(layer, ('kernel', 'kernel', kernel))
  if layer.use_bias:
    weights += _params(layer, ('bias', 'bias', (layer.features,)))
  step = Step(kind, options, weights)
  return [*before, *_with_activation(step, getattr(layer, 'activation', 'linear')), *after]


def _same_margins(
  shape: Sequence[int], reach: Sequence[int], strides: Sequence[int]
) -> tuple[tuple[int, int], ...]:
  """The padding 'SAME' of windows that span `reach` of maps (H, W)."""
  found = []
  for size, span, step in zip(shape, reach, strides, strict=True):
    total = max((-(-size // step) - 1) * step + span - size, 0)
    found.append((total // 2, total - total // 2))
  return tuple(found)


def _pool(kind: str) -> Callable[[Any, Shape], list[Step]]:
  def steps(layer: Any, shape: Shape) -> list[Step]:
    window = pair(layer.window_shape)
    strides = window if layer.strides is None else pair(layer.strides)
    if not isinstance(layer.padding, str):
      raise UserError(f"{'/'.join(layer.path)}: Keras's pools take no border in pixels")
    options = {'pool_size': window, 'strides': strides, 'padding': layer.padding.lower()}
    return [Step(kind, options)]

  return steps


def _batch_norm(layer: Any, shape: Shape) -> list[Step]:
  size = (shape[-1],)
  options = {'momentum': layer.momentum, 'epsilon': layer.epsilon, 'axis': -1}
  stats = tuple(
    Weight(name, size, ('batch_stats', *layer.path, ours))
    for name, ours in (('moving_mean', 'mean'), ('moving_variance', 'var'))
  )
  return [_scaled(layer, 'BatchNormalization', options, size, stats)]


def _layer_norm(layer: Any, shape: Shape) -> list[Step]:
  if layer.reduction_axes != -1 or layer.feature_axes != -1:
    raise UserError(f'{"/".join(layer.path)}: only the last axis is normalized by Keras alike')
  options = {'epsilon': layer.epsilon, 'axis': -1}
  return [_scaled(layer, 'LayerNormalization', options, (shape[-1],), ())]


def _scaled(
  layer: Any, kind: str, options: dict[str, Any], size: Shape, rest: tuple[Weight, ...]
) -> Step:
  """A normalization with what it learns, a factor, an offset or both."""
  learned: tuple[Weight, ...] = ()
  if layer.use_scale:
    learned += _params(layer, ('gamma', 'scale', size))
  if layer.use_bias:
    learned += _params(layer, ('beta', 'bias', size))
  options = {**options, 'scale': layer.use_scale, 'center': layer.use_bias}
  return Step(kind, options, learned + rest)


def _dropout(layer: Any, shape: Shape) -> list[Step]:
  return [Step('Dropout', {'rate': float(layer.rate)})] if layer.rate else []


# The layers of the trace: each makes of itself and of the shape of its inputs [B, ...] the steps.
STEPS: Mapping[type, Callable[[Any, Shape], list[Step]]] = {
  layers.Activation: lambda layer, shape: activation_steps(layer.activation),
  layers.AveragePool: _pool('AveragePooling2D'),
  layers.BatchNorm: _batch_norm,
  layers.Conv: _conv,
  layers.Dense: _dense,
  layers.Dropout: _dropout,
  layers.DropPath: lambda layer, shape: [],
  layers.Flatten: lambda layer, shape: [Step('Flatten')],
  layers.GlobalAveragePool: lambda layer, shape: [Step('GlobalAveragePooling2D')],
  layers.MaxPool: _pool('MaxPooling2D'),
  nn.BatchNorm: _batch_norm,
  nn.Conv: _conv,
  nn.Dense: _dense,
  nn.Dropout: _dropout,
  nn.LayerNorm: _layer_norm,
}


def between(
  name: str, params: Mapping[str, Any], shapes: Sequence[Shape], output: Shape, number: float | None
) -> list[Step] | None:
  """The layers of an operation that stands between layers of the network.

  Args:
    name: Of the operation of JAX.
    params: Its parameters.
    shapes: Those of the tensors that it takes, [B, ...].
    output: The shape of its result.
    number: The number that it takes beside one tensor, if any; the second of the two.

  Returns:
    The layers, of which the first takes all tensors; none where nothing is to be done; None where
    Keras has no layer for it.
  """
  if number is not None:
    return _with_number(name, params, shapes[0], number)
  shape, rank = shapes[0], len(shapes[0])
  if name in _OF_TWO and len(shapes) == 2:
    return [Step(_OF_TWO[name])]
  if name == 'concatenate' and params['dimension'] > 0:
    return [Step('Concatenate', {'axis': params['dimension']})]
  if len(shapes) != 1:
    return None
  if name in ('tanh', 'logistic'):
    return activation_steps({'logistic': 'sigmoid'}.get(name, name))
  if name == 'neg':
    return [rescaling(-1)]
  if name in ('reshape', 'squeeze', 'expand_dims', 'broadcast_in_dim'):
    return _reshaped(name, params, shape, output)
  if name == 'transpose' and params['permutation'][0] == 0:
    return [Step('Permute', {'dims': tuple(params['permutation'][1:])})]
  if name == 'slice':
    return _sliced(params, shape)
  if name == 'reduce_sum' and tuple(params['axes']) == tuple(range(1, rank - 1)) and rank > 2:
    mean = Step(f'GlobalAveragePooling{rank - 2}D')
    return [mean, rescaling(math.prod(shape[1:-1]))]
  return None


_OF_TWO = {'add': 'Add', 'add_any': 'Add', 'mul': 'Multiply', 'sub': 'Subtract', 'max': 'Maximum'}


def _with_number(
  name: str, params: Mapping[str, Any], shape: Shape, number: float
) -> list[Step] | None:
  if name == 'mul':
    return [rescaling(number)]
  if name == 'div':
    return [rescaling(1 / number)]
  if name in ('add', 'sub'):
    return [rescaling(1, number if name == 'add' else -number)]
  if name == 'max' and number == 0:
    return activation_steps('relu')
  if name == 'pad' and number == 0 and len(shape) == 4:
    return _padded(params['padding_config'], shape)
  return None


def _padded(borders: Sequence[tuple[int, int, int]], shape: Shape) -> list[Step] | None:
  """Zeros around the maps, or as further channels, which a convolution makes whose weights are
  constants.
  """
  if any(between or min(low, high) < 0 for low, high, between in borders) or any(borders[0]):
    return None
  (_, rows, columns, (before, behind, _)) = borders
  found = []
  if any(rows) or any(columns):
    found.append(Step('ZeroPadding2D', {'padding': (tuple(rows[:2]), tuple(columns[:2]))}))
  if before or behind:
    kernel = np.eye(shape[3], shape[3] + before + behind, before, dtype=np.float32)[None, None]
    options = {'filters': kernel.shape[3], 'kernel_size': (1, 1), 'strides': (1, 1), 'groups': 1}
    options |= {'dilation_rate': (1, 1), 'padding': 'valid', 'use_bias': False}
    weight = Weight('kernel', kernel.shape, constant=kernel)
    found.append(Step('Conv2D', {**options, 'activation': 'linear'}, (weight,)))
  return found


def _reshaped(
  name: str, params: Mapping[str, Any], shape: Shape, output: Shape
) -> list[Step] | None:
  if shape == output:
    return []
  if name == 'broadcast_in_dim' and math.prod(shape) != math.prod(output):
    # Sums and products of Keras make axes of 1 as long as those of the other tensor.
    return [] if len(shape) == len(output) else None
  if len(output) == 2 and len(shape) > 2:
    return [Step('Flatten')]
  return [Step('Reshape', {'target_shape': output[1:]})]


def _sliced(params: Mapping[str, Any], shape: Shape) -> list[Step] | None:
  strides = tuple(params['strides'] or (1,) * len(shape))
  if any(params['start_indices']) or tuple(params['limit_indices']) != shape:
    return None
  if len(shape) != 4 or (strides[0], strides[3]) != (1, 1):
    return None
  pool = {'pool_size': (1, 1), 'strides': strides[1:3], 'padding': 'valid'}
  return [] if strides[1:3] == (1, 1) else [Step('MaxPooling2D', pool)]
