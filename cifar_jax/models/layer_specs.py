"""The specs in which a sequential network is written down.

A spec is a layer's name and its options, separated by blanks; what is in brackets may be left out:

  conv3 [valid] [x2] [stride=2] [dilation=2] [relu]
      3x3 convolution; conv3x1 is 3 high and 1 wide; x2 has twice the block's width, x0.5 half of it
  max_pool [3] [stride=2] [same]
      the window is 2x2 unless given, the stride as wide as the window
  avg_pool [3] [stride=2] [same]
  dense 256 [relu]
  dropout 0.25
  batch_norm
  flatten
  global_average_pool
  relu
      or any other activation: sigmoid, gelu, leaky_relu(0.003), linear, ...

Convolutions pad ('same') unless the spec says 'valid', so blocks can be stacked without the maps
shrinking between the pools; pools do not ('valid'). A convolution or dense layer without an
activation takes that of the network.
"""

import dataclasses
import math
import re

from cifar_jax.layers import activation_function, activation_names
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import did_you_mean


@dataclasses.dataclass(frozen=True)
class ConvSpec:
  """A convolution; `activation` None means that of the network."""

  kernel: tuple[int, int] = (3, 3)
  padding: str = 'same'
  width_factor: float = 1.0
  stride: int = 1
  dilation: int = 1
  activation: str | None = None


@dataclasses.dataclass(frozen=True)
class PoolSpec:
  """A pool; `kind` is 'max_pool' or 'avg_pool', `stride` None means the window's size."""

  kind: str
  window: int = 2
  stride: int | None = None
  padding: str = 'valid'


@dataclasses.dataclass(frozen=True)
class DenseSpec:
  """A fully connected layer; `activation` None means that of the network."""

  units: int
  activation: str | None = None


@dataclasses.dataclass(frozen=True)
class DropoutSpec:
  """Dropout of the fraction `rate`."""

  rate: float


@dataclasses.dataclass(frozen=True)
class BatchNormSpec:
  """Batch normalization."""


@dataclasses.dataclass(frozen=True)
class FlattenSpec:
  """Maps to vectors."""


@dataclasses.dataclass(frozen=True)
class GlobalAveragePoolSpec:
  """Maps to the mean of each channel."""


@dataclasses.dataclass(frozen=True)
class ActivationSpec:
  """An activation that is a layer of its own."""

  activation: str


LayerSpec = (
  ConvSpec
  | PoolSpec
  | DenseSpec
  | DropoutSpec
  | BatchNormSpec
  | FlattenSpec
  | GlobalAveragePoolSpec
  | ActivationSpec
)

_PLAIN: dict[str, LayerSpec] = {
  'batch_norm': BatchNormSpec(),
  'flatten': FlattenSpec(),
  'global_average_pool': GlobalAveragePoolSpec(),
}
_POOLS = ('avg_pool', 'max_pool')
_KINDS = ('conv1', 'conv3', 'conv5', 'conv7', 'dense', 'dropout', *_POOLS, *_PLAIN)
_CONV = re.compile(r'conv([0-9]{1,3})(?:x([0-9]{1,3}))?', re.ASCII)
_INTEGER = re.compile(r'[0-9]{1,9}', re.ASCII)
_NUMBER = re.compile(r'[0-9]*\.?[0-9]+(?:e-?[0-9]{1,3})?', re.ASCII)


def parse_spec(text: object) -> LayerSpec:
  """Reads one spec.

  Raises:
    UserError: The text is no spec; the sentence starts with the text and does not know which flag
      it came from.
  """
  if not isinstance(text, str):
    raise UserError(f'{text!r} is no layer; a layer is a string such as "conv3" or "dropout 0.25"')
  try:
    name, *options = text.split()
  except ValueError:
    raise UserError('an empty string is no layer; leave it out') from None
  try:
    if match := _CONV.fullmatch(name):
      return _parse_conv(match, options)
    if name in _POOLS:
      return _parse_pool(name, options)
    if name == 'dense':
      return _parse_dense(options)
    if name == 'dropout':
      return _parse_dropout(options)
    if name in _PLAIN:
      _no_options(name, options)
      return _PLAIN[name]
    if _is_activation(name):
      _no_options(name, options)
      return ActivationSpec(name)
  except UserError as error:
    raise UserError(f'{text!r}: {error}') from None
  raise UserError(f'{text!r}: no layer is called {name!r}{_suggest(name, _KINDS)}')


def format_spec(spec: LayerSpec) -> str:
  """Returns the shortest text that `parse_spec` reads as this spec."""
  match spec:
    case ConvSpec():
      height, width = spec.kernel
      parts = [f'conv{height}' if height == width else f'conv{height}x{width}']
      parts += ['valid'] if spec.padding == 'valid' else []
      parts += [f'x{spec.width_factor!r}'.removesuffix('.0')] if spec.width_factor != 1 else []
      parts += [f'stride={spec.stride}'] if spec.stride != 1 else []
      parts += [f'dilation={spec.dilation}'] if spec.dilation != 1 else []
      parts += [spec.activation] if spec.activation else []
    case PoolSpec():
      parts = [spec.kind]
      parts += [str(spec.window)] if spec.window != 2 else []
      parts += [f'stride={spec.stride}'] if spec.stride is not None else []
      parts += ['same'] if spec.padding == 'same' else []
    case DenseSpec():
      parts = ['dense', str(spec.units)]
      parts += [spec.activation] if spec.activation else []
    case DropoutSpec():
      parts = ['dropout', repr(spec.rate)]
    case ActivationSpec():
      parts = [spec.activation]
    case _:
      parts = [next(name for name, plain in _PLAIN.items() if plain == spec)]
  return ' '.join(parts)


def _parse_conv(match: re.Match[str], options: list[str]) -> ConvSpec:
  height = _positive(match[1])
  changes: dict[str, object] = {'kernel': (height, _positive(match[2]) if match[2] else height)}
  for option in options:
    if option in ('same', 'valid'):
      _set(changes, 'padding', option)
    elif option.startswith('stride='):
      _set(changes, 'stride', _positive(option.removeprefix('stride=')))
    elif option.startswith('dilation='):
      _set(changes, 'dilation', _positive(option.removeprefix('dilation=')))
    elif option.startswith('x') and _NUMBER.fullmatch(option[1:]):
      factor = float(option[1:])
      if not 0 < factor < math.inf:
        raise UserError(f'{option!r} must multiply the width by more than 0')
      _set(changes, 'width_factor', factor)
    elif _is_activation(option):
      _set(changes, 'activation', option)
    else:
      known = ('same', 'valid', 'x2', 'stride=2', 'dilation=2')
      raise UserError(f'a convolution has no option {option!r}{_suggest(option, known)}')
  return ConvSpec(**changes)  # type: ignore[arg-type]


def _parse_pool(kind: str, options: list[str]) -> PoolSpec:
  changes: dict[str, object] = {}
  for option in options:
    if option in ('same', 'valid'):
      _set(changes, 'padding', option)
    elif option.startswith('stride='):
      _set(changes, 'stride', _positive(option.removeprefix('stride=')))
    elif _INTEGER.fullmatch(option):
      _set(changes, 'window', _positive(option))
    else:
      known = ('same', 'valid', 'stride=2')
      raise UserError(f'a pool has no option {option!r}{did_you_mean(option, known)}')
  return PoolSpec(kind, **changes)  # type: ignore[arg-type]


def _parse_dense(options: list[str]) -> DenseSpec:
  if not options:
    raise UserError('say how many units, as in "dense 256"')
  units, *rest = options
  if len(rest) > 1:
    raise UserError(f'a dense layer takes one activation, not {" ".join(rest)!r}')
  if rest and not _is_activation(rest[0]):
    known = activation_names()
    raise UserError(f'no activation is called {rest[0]!r}{did_you_mean(rest[0], known)}')
  return DenseSpec(_positive(units), rest[0] if rest else None)


def _parse_dropout(options: list[str]) -> DropoutSpec:
  if len(options) != 1 or not _NUMBER.fullmatch(options[0]) or not float(options[0]) < 1:
    raise UserError('say which fraction to drop, 0 or more and less than 1, as in "dropout 0.25"')
  return DropoutSpec(float(options[0]))


def _positive(text: str) -> int:
  if not _INTEGER.fullmatch(text) or int(text) < 1:
    raise UserError(f'{text!r} must be a whole number of 1 or more')
  return int(text)


def _set(changes: dict[str, object], field: str, value: object) -> None:
  if field in changes:
    raise UserError(f'the {field.replace("_", " ")} is given twice')
  changes[field] = value


def _no_options(name: str, options: list[str]) -> None:
  if options:
    raise UserError(f'{name!r} takes no options, but {" ".join(options)!r} follows it')


def _is_activation(text: str) -> bool:
  """Whether the text names an activation; raises if only its number is wrong."""
  if text.split('(')[0] not in activation_names():
    return False
  activation_function(text)
  return True


def _suggest(name: str, known: tuple[str, ...]) -> str:
  return did_you_mean(name, (*known, *activation_names()))
