"""What a file of Keras's says of its model: its layers as operations, of Keras 1, 2 and 3 alike.

A description is data here: nothing that it names is imported or called.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cifar_jax.utils.errors import UserError

# What a layer is called in Keras 1.
_OLD_CLASSES = {'Convolution2D': 'Conv2D'}
_OLD_OPTIONS = {
  'border_mode': 'padding',
  'subsample': 'strides',
  'bias': 'use_bias',
  'dim_ordering': 'data_format',
}
_MODELS = ('Sequential', 'Functional', 'Model')
# They do something in training alone.
_NOTHING = {
  *('ActivityRegularization', 'AlphaDropout', 'Dropout', 'GaussianDropout', 'GaussianNoise'),
  *('RandomBrightness', 'RandomColorJitter', 'RandomContrast', 'RandomErasing', 'RandomFlip'),
  *('RandomGaussianBlur', 'RandomHue', 'RandomRotation', 'RandomSaturation', 'RandomShear'),
  *('RandomTranslation', 'RandomZoom', 'SpatialDropout2D'),
}
# What decides what a layer computes, beside its variables.
_DECIDING = {
  'Activation': ('activation',),
  'AveragePooling2D': ('pool_size', 'strides', 'padding'),
  'Concatenate': ('axis',),
  'Conv2D': ('kernel_size', 'strides', 'padding', 'dilation_rate', 'groups'),
  'DepthwiseConv2D': ('kernel_size', 'strides', 'padding', 'dilation_rate'),
  'ELU': ('alpha',),
  'LayerNormalization': ('epsilon',),
  'LeakyReLU': ('negative_slope',),
  'MaxPooling2D': ('pool_size', 'strides', 'padding'),
  'Normalization': ('mean', 'variance'),
  'Permute': ('dims',),
  'Rescaling': ('scale', 'offset'),
  'Reshape': ('target_shape',),
  'ZeroPadding2D': ('padding',),
}
_PLAIN = {
  *(
    'Add',
    'BatchNormalization',
    'Dense',
    'Flatten',
    'GlobalAveragePooling1D',
    'GlobalAveragePooling2D',
    'InputLayer',
  ),
  *('Maximum', 'Multiply', 'Subtract'),
}
KNOWN = _PLAIN | _DECIDING.keys()
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
  'AveragePooling2D': {'pool_size': 2, 'padding': 'valid'},
  'Concatenate': {'axis': -1},
  'Conv2D': {'strides': 1, 'padding': 'valid', 'dilation_rate': 1, 'groups': 1},
  'DepthwiseConv2D': {'strides': 1, 'padding': 'valid', 'dilation_rate': 1},
  'ELU': {'alpha': 1.0},
  'LayerNormalization': {'epsilon': 1e-3},
  'LeakyReLU': {'negative_slope': 0.3},
  'MaxPooling2D': {'pool_size': 2, 'padding': 'valid'},
  'Normalization': {'mean': None, 'variance': None},
  'Rescaling': {'offset': 0.0},
  'ZeroPadding2D': {'padding': 1},
}
# What is raised by values that no Keras writes.
_OF_DAMAGE = (
  *(ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError),
)
_PAIRS = ('kernel_size', 'strides', 'dilation_rate', 'pool_size')
_SYNONYMS = {'swish': 'silu', 'hard_swish': 'hard_silu', 'SiLU': 'silu'}


@dataclasses.dataclass(frozen=True, eq=False)
class Op:
  """A layer, or the activation that it ends with.

  Attributes:
    layer: The name of the layer.
    kind: The name of its class in Keras 3, 'Activation' for an activation of its own.
    options: What decides what it computes, in one form: windows and steps as pairs.
    inputs: The indices of those before it.
    has_weights: Whether the variables of the layer belong to it.
    input_shape: Of its inputs without the batch; () where it is not known.
    channels_first: Whether it takes maps [B, C, H, W].
  """

  layer: str
  kind: str
  options: Mapping[str, Any]
  inputs: tuple[int, ...]
  has_weights: bool = True
  input_shape: tuple[int, ...] = ()
  channels_first: bool = False


@dataclasses.dataclass(frozen=True)
class Description:
  """A model.

  Attributes:
    ops: Its operations, each behind those that it takes; the first is the input.
    order: The names of all layers in the order in which the model has them, with their classes.
    options: Of each layer what it was made with, by name.
  """

  ops: tuple[Op, ...]
  order: tuple[tuple[str, str], ...]
  options: Mapping[str, Mapping[str, Any]]


def parse(config: Mapping[str, Any], version: str) -> Description:
  """Reads the description of a model with one input and one output.

  Args:
    config: As the file has it.
    version: Of the Keras that wrote it; '' is taken for Keras 3.

  Raises:
    UserError: it is none, or has a layer that no network here has.
  """
  try:
    return _Parser(int((version or '3').partition('.')[0])).parsed(config)
  except UserError:
    raise
  except _OF_DAMAGE as error:
    text = ' '.join(str(error).split())[:120]
    raise UserError(f'its description is damaged ({type(error).__name__}: {text})') from None


def deciding(kind: str, options: Mapping[str, Any], rank: int = 4) -> dict[str, Any]:
  """The options that decide what a layer computes, in one form.

  Args:
    rank: Axes of its inputs, of which the last may be counted from either end.
  """
  found = {key: value for key, value in _DEFAULTS.get(kind, {}).items()}
  found |= {key: options[key] for key in _DECIDING.get(kind, ()) if options.get(key) is not None}
  if kind in ('MaxPooling2D', 'AveragePooling2D'):
    found.setdefault('strides', found['pool_size'])
  for key in _PAIRS:
    if key in found:
      found[key] = _pair(found[key])
  if kind == 'ZeroPadding2D':
    rows, columns = (
      found['padding'] if isinstance(found['padding'], Sequence) else ((found['padding'],) * 2)
    )
    found['padding'] = (_pair(rows), _pair(columns))
  elif 'padding' in found:
    found['padding'] = str(found['padding']).lower()
    if kind.endswith('Conv2D') and found['kernel_size'] == found['strides'] == (1, 1):
      found['padding'] = 'valid'  # nothing is padded
  if kind == 'Concatenate' and found['axis'] in (-1, rank - 1):
    found['axis'] = -1
  for key in ('dims', 'target_shape'):
    if key in found:
      found[key] = tuple(int(number) for number in found[key])
  return found


class _Parser:
  """Collects the operations of a description."""

  def __init__(self, major: int):
    self._major = major
    self._ops: list[Op] = []
    self._order: list[tuple[str, str]] = []
    self._options: dict[str, Mapping[str, Any]] = {}

  def parsed(self, config: Mapping[str, Any]) -> Description:
    kind = str(config['class_name'])
    if kind not in _MODELS:
      raise UserError(f'its model is of the class {kind[:60]!r}, which only its own program knows')
    inner = config['config']
    if kind == 'Sequential':
      self._sequential(inner if isinstance(inner, list) else inner['layers'])
    else:
      self._functional(inner)
    return Description(tuple(self._ops), tuple(self._order), self._options)

  def _sequential(self, layers: Sequence[Mapping[str, Any]]) -> None:
    self._ops.append(Op('input', 'InputLayer', {}, ()))
    for number, layer in enumerate(layers):
      kind, name, options = self._layer(layer, number)
      if kind != 'InputLayer':
        self._append(kind, name, options, (len(self._ops) - 1,))

  def _functional(self, config: Mapping[str, Any]) -> None:
    places: dict[tuple[str, int], int] = {}
    for number, layer in enumerate(config['layers']):
      kind, name, options = self._layer(layer, number)
      if kind == 'InputLayer':
        if self._ops:
          raise UserError('its model takes more than one input')
        self._ops.append(Op(name, kind, {}, ()))
        places[name, 0] = 0
        continue
      for use, call in enumerate(layer['inbound_nodes']):
        inputs = tuple(places[source] for source in _sources(call))
        self._append(kind, name, options, inputs)
        places[name, use] = len(self._ops) - 1
    outputs = list(_triples(config['output_layers']))
    if len(outputs) != 1:
      raise UserError(f'its model has {len(outputs)} outputs, where a classifier has one')
    last = places[outputs[0]]
    self._ops = self._ops[: last + 1]

  def _layer(self, layer: Mapping[str, Any], number: int) -> tuple[str, str, dict[str, Any]]:
    kind = str(layer['class_name'])
    kind = _OLD_CLASSES.get(kind, kind)
    config = layer.get('config', {})
    if not isinstance(config, Mapping):
      raise UserError(f'its layer {number} ({kind[:60]}) is no layer with options')
    options: dict[str, Any] = {
      _OLD_OPTIONS.get(str(key), str(key)): value for key, value in config.items()
    }
    if 'nb_row' in options:
      options['kernel_size'] = (options['nb_row'], options['nb_col'])
    name = str(options.get('name') or layer.get('name') or f'{kind}_{number}')
    if name in self._options:
      raise UserError(f'it has two layers called {name!r}')
    self._options[name] = options
    self._order.append((name, kind))
    return kind, name, options

  def _append(
    self, kind: str, name: str, options: Mapping[str, Any], inputs: tuple[int, ...]
  ) -> None:
    """Appends a layer, and its activation as an operation of its own."""
    if any(number < 0 for number in inputs) or not inputs:
      raise UserError(f'its layer {name!r} takes nothing')
    first = options.get('data_format') in ('channels_first', 'th')
    kind, options = self._simplified(kind, name, options)
    if kind in _NOTHING or (kind == 'Activation' and options['activation'] == 'linear'):
      # Stays as an operation that the matching leaves out, so that indices remain what they are.
      self._ops.append(Op(name, 'Identity', {}, inputs, False))
      return
    if kind not in KNOWN and kind != 'Softmax':
      raise UserError(
        f'its layer {name!r} is a {kind[:60]}, which is no layer of the networks here'
      )
    self._ops.append(Op(name, kind, deciding(kind, options), inputs, True, channels_first=first))
    activation = options.get('activation')
    if kind != 'Activation' and activation not in (None, 'linear'):
      self._append('Activation', name, {'activation': activation}, (len(self._ops) - 1,))

  def _simplified(
    self, kind: str, name: str, options: Mapping[str, Any]
  ) -> tuple[str, Mapping[str, Any]]:
    """A layer that is another one by another name."""
    if kind in _MODELS:
      inside = options.get('layers', ())
      kinds = [str(layer['class_name']) for layer in inside]
      if all(inner in {*_NOTHING, 'InputLayer'} for inner in kinds):
        return 'Dropout', {}
      raise UserError(f'its layer {name!r} is a model in the model; put its layers in its place')
    if kind == 'BatchNormalization':
      if options.get('mode'):
        raise UserError(f'its layer {name!r} normalizes by mode {options["mode"]!r} of Keras 1')
      axis = options.get('axis', -1)
      axis = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
      if axis not in (-1, 3, 1):
        raise UserError(f'its layer {name!r} normalizes along the axis {axis!r}')
      if not 0 <= epsilon_of(options) < 1:
        raise UserError(f'its layer {name!r} adds {epsilon_of(options):g} to variances')
      return kind, options
    if kind == 'ReLU':
      slope = options.get('negative_slope') or 0
      limit, threshold = options.get('max_value'), options.get('threshold') or 0
      if slope and limit is None and not threshold:
        return 'LeakyReLU', {'negative_slope': slope}
      rectified = {None: 'relu', 6: 'relu6'}.get(limit)
      if rectified is None or slope or threshold:
        raise UserError(f'its layer {name!r} is a ReLU of a form that no network here has')
      return 'Activation', {'activation': rectified}
    if kind == 'LeakyReLU':
      slope = options.get('negative_slope', options.get('alpha', 0.3))
      return kind, {'negative_slope': _number(slope)}
    if kind != 'Activation':
      return kind, options
    word = options['activation']
    if isinstance(word, Mapping) and word.get('class_name') in ('function', 'LeakyReLU', 'ReLU'):
      word = word['config'] if word['class_name'] == 'function' else word
      if isinstance(word, Mapping):
        return self._simplified(str(word['class_name']), name, word['config'])
    if not isinstance(word, str):
      raise UserError(f'the activation of its layer {name!r} is no word')
    word = _SYNONYMS.get(word, word)
    if word == 'softmax':
      return 'Softmax', {}
    if word == 'leaky_relu':
      return 'LeakyReLU', {'negative_slope': 0.2}
    if word in ('elu', 'celu'):
      return 'ELU', {'alpha': 1.0}
    if word == 'hard_sigmoid' and self._major < 3:
      raise UserError(
        f'the hard_sigmoid of its layer {name!r} is that of Keras {self._major}, 0.2 x + 0.5, '
        'where Keras 3 and the networks here have x / 6 + 0.5'
      )
    return 'Activation', {'activation': word}


def epsilon_of(options: Mapping[str, Any]) -> float:
  """What a BatchNormalization with these options adds to variances."""
  return _number(options.get('epsilon', 1e-3))


def _sources(call: Any) -> list[tuple[str, int]]:
  """The (layer, use) that a layer is called with: tensors of Keras 3, or lists of Keras 1 and 2."""
  if isinstance(call, Mapping):
    return list(_tensors(call.get('args', ())))
  return list(_triples(call))


def _tensors(value: Any) -> Iterator[tuple[str, int]]:
  if isinstance(value, Mapping):
    if value.get('class_name') == '__keras_tensor__':
      yield from _triples(value['config']['keras_history'])
  elif isinstance(value, list):
    for inner in value:
      yield from _tensors(inner)


def _triples(value: Any) -> Iterator[tuple[str, int]]:
  """(layer, use) of [layer, use, output, ...], alone or in lists."""
  if len(value) >= 3 and isinstance(value[0], str):
    yield value[0], int(value[1])
  else:
    for inner in value:
      yield from _triples(inner)


def _pair(value: Any) -> tuple[int, int]:
  first, second = (value, value) if isinstance(value, int) else value
  return int(first), int(second)


def _number(value: Any) -> float:
  """A number, which Keras 2 may have written as an array without axes."""
  number = float(value['value'] if isinstance(value, Mapping) else value)
  if not math.isfinite(number):
    raise ValueError(f'{number} is no finite number')
  return number
