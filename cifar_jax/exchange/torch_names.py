"""The tensors of a network as PyTorch names and lays them out.

A name is the path here with dots, 'stem.Conv_0.weight' for 'params/stem/Conv_0/kernel'; the last
part is what PyTorch calls it. Convolutions are [out, in, h, w] there, dense layers [out, in], and
maps are flattened channels first.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import numpy as np
from flax.traverse_util import flatten_dict

from cifar_jax import layers
from cifar_jax.exchange.layer_calls import Call
from cifar_jax.models.conv_units import ConvNorm
from cifar_jax.models.preact_resnet import PreActivationBlock
from cifar_jax.models.pretrained.resnet import Block
from cifar_jax.models.resnet import ResidualBlock

NORMALIZE = 'normalize'  # the first layer, which normalizes images
Convert = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Tensor:
  """One tensor of a layer.

  Attributes:
    name: Its name in PyTorch.
    path: Its path here, collection first; None for one that is constant here.
    shape: Its shape in PyTorch.
    export: A function from the layout here to that of PyTorch.
    restore: The inverse.
    constant: What it holds where this package has no such parameter.
  """

  name: str
  path: tuple[str, ...] | None
  shape: tuple[int, ...]
  export: Convert
  restore: Convert
  constant: float = 0.0


@dataclasses.dataclass(frozen=True)
class Layer:
  """A layer with parameters.

  Attributes:
    kind: 'conv', 'dense', 'batch_norm', 'layer_norm' or 'parameter', which is a tensor by itself.
    path: The path of its module; of a parameter, the parameter's.
    tensors: By what PyTorch calls them: 'weight', 'bias', 'running_mean', 'running_var'; a
      parameter's is called ''.
    epsilon: What a normalization adds to the variance.
    is_shortcut: Whether it changes the shape of what is added to a branch.
  """

  kind: str
  path: tuple[str, ...]
  tensors: Mapping[str, Tensor]
  epsilon: float = 0.0
  is_shortcut: bool = False


_KINDS: Mapping[type, str] = {
  layers.Conv: 'conv',
  layers.Dense: 'dense',
  layers.BatchNorm: 'batch_norm',
  nn.LayerNorm: 'layer_norm',
}
# Path here, name in PyTorch, what stands for one that is missing.
_NORM = (('params', 'scale', 'weight', 1.0), ('params', 'bias', 'bias', 0.0))
_STATISTICS = (
  ('batch_stats', 'mean', 'running_mean', 0.0),
  ('batch_stats', 'var', 'running_var', 1.0),
)


def layers_of(calls: Sequence[Call], shapes: Mapping[str, Any]) -> list[Layer]:
  """The layers with parameters, in the order of their calls; parameters of none come last.

  Args:
    calls: As `layer_calls` gives them.
    shapes: 'params' and 'batch_stats' as arrays or shapes.
  """
  known = {path: tuple(leaf.shape) for path, leaf in flatten_dict(dict(shapes)).items()}
  found: dict[tuple[str, ...], Layer] = {}
  flattened: tuple[int, ...] | None = None  # (H, W, C) of maps that a vector was made of
  for call in calls:
    if isinstance(call.module, layers.Flatten) and len(call.input_shape) == 3:
      flattened = call.input_shape if call.input_shape[0] * call.input_shape[1] > 1 else None
    kind = _KINDS.get(type(call.module))
    if kind is not None and call.path not in found:
      found[call.path] = _layer(kind, call, known, flattened)
    if kind == 'dense':
      flattened = None
  for path in _shortcuts(calls):
    found = {
      name: dataclasses.replace(layer, is_shortcut=True) if name[: len(path)] == path else layer
      for name, layer in found.items()
    }
  taken = {tensor.path for layer in found.values() for tensor in layer.tensors.values()}
  rest = [path for path in known if path not in taken]
  return [*found.values(), *(_parameter(path, known[path]) for path in rest)]


def _shortcuts(calls: Sequence[Call]) -> list[tuple[str, ...]]:
  """The paths of the modules that are shortcuts."""
  inside: dict[tuple[str, ...], list[Call]] = {}
  for call in calls:
    if isinstance(call.module, layers.Conv | ConvNorm):
      inside.setdefault(call.path[:-1], []).append(call)
  found = []
  for call in calls:
    units, block = inside.get(call.path, []), call.module
    if isinstance(block, PreActivationBlock | ResidualBlock):
      if len(units) > (2 if block.block == 'basic' else 3):
        found.append(units[0 if isinstance(block, PreActivationBlock) else -1].path)
    elif isinstance(block, Block) and units[-1].path[-1] == 'downsample_conv':
      found += [(*call.path, 'downsample_conv'), (*call.path, 'downsample_bn')]
  return found


def _layer(
  kind: str,
  call: Call,
  shapes: Mapping[tuple[str, ...], tuple[int, ...]],
  flattened: tuple[int, ...] | None,
) -> Layer:
  path, name = call.path, '.'.join(call.path)
  if kind in ('conv', 'dense'):
    kernel = shapes['params', *path, 'kernel']
    export, restore = _conv if kind == 'conv' else _dense(flattened)
    shape = kernel[:-3:-1] + kernel[:-2]  # outputs, inputs, window
    weight = Tensor(f'{name}.weight', ('params', *path, 'kernel'), shape, export, restore)
    tensors = {'weight': weight}
    if ('params', *path, 'bias') in shapes:
      bias = ('params', *path, 'bias')
      tensors['bias'] = Tensor(f'{name}.bias', bias, shapes[bias], _same, _same)
    return Layer(kind, path, tensors)
  export, restore = _vector(flattened if len(call.input_shape) == 1 else None)
  tensors = {}
  for collection, leaf, torch, constant in _NORM + (_STATISTICS if kind == 'batch_norm' else ()):
    place = (collection, *path, leaf)
    size = (call.input_shape[-1],)
    tensors[torch] = Tensor(
      f'{name}.{torch}', place if place in shapes else None, size, export, restore, constant
    )
  return Layer(kind, path, tensors, call.module.epsilon)


def _parameter(path: tuple[str, ...], shape: tuple[int, ...]) -> Layer:
  tensor = Tensor('.'.join(path[1:]), path, shape, _same, _same)
  return Layer('parameter', path[1:], {'': tensor})


def _same(array: np.ndarray) -> np.ndarray:
  return array


_conv: tuple[Convert, Convert] = (
  lambda array: array.transpose(3, 2, 0, 1),
  lambda array: array.transpose(2, 3, 1, 0),
)


def _dense(flattened: tuple[int, ...] | None) -> tuple[Convert, Convert]:
  """Of a kernel [in, out], whose inputs are maps rows first here, channels first in PyTorch."""
  if flattened is None:
    return (lambda array: array.T), (lambda array: array.T)
  height, width, channels = flattened

  def export(array: np.ndarray) -> np.ndarray:
    maps = array.reshape(height, width, channels, -1)
    return maps.transpose(3, 2, 0, 1).reshape(array.shape[1], -1)

  def restore(array: np.ndarray) -> np.ndarray:
    maps = array.reshape(-1, channels, height, width)
    return maps.transpose(2, 3, 1, 0).reshape(-1, array.shape[0])

  return export, restore


def _vector(flattened: tuple[int, ...] | None) -> tuple[Convert, Convert]:
  """Of a number for each channel, or for each element of flattened maps."""
  if flattened is None:
    return _same, _same
  height, width, channels = flattened
  return (
    lambda array: array.reshape(height, width, channels).transpose(2, 0, 1).reshape(-1),
    lambda array: array.reshape(channels, height, width).transpose(1, 2, 0).reshape(-1),
  )
