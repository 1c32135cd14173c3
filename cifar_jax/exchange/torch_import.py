"""Reads the weights of PyTorch: what this package wrote, published families by their names, and the
same network written by hand, whose layers are matched in order by kind and shape.
"""

import contextlib
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from flax.traverse_util import unflatten_dict

from cifar_jax.augment.normalize import Statistics
from cifar_jax.config import CONFIG_NAME
from cifar_jax.exchange import torch_order
from cifar_jax.exchange.imports import Imported, Target
from cifar_jax.exchange.layer_calls import layer_calls
from cifar_jax.exchange.torch_families import known
from cifar_jax.exchange.torch_names import NORMALIZE, Layer, Tensor, layers_of
from cifar_jax.models.resnet import ResNet
from cifar_jax.run_dir import run_files
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import listed
from cifar_jax.weights import safetensors_files, torch_files
from cifar_jax.weights.load import without_wrappers

_NAMED = 6  # tensors named in a message
_NORMALIZE = f'{NORMALIZE}.'
_PADS = (
  'nothing in it tells what its shortcuts without parameters do: they are taken to put zeros after '
  'the channels, as the paper does; some programs put half of them before'
)
_OURS = ('params/', 'batch_stats/')  # what the names in a model folder begin with
_BESIDE = (CONFIG_NAME, run_files.ABOUT)
_IGNORED = re.compile(r'(.*\.)?num_batches_tracked')


def read(path: pathlib.Path, target: Target) -> Imported:
  """The variables of a network from a state dict, .pth, .pt or .safetensors.

  Raises:
    UserError: the file cannot be read or is damaged, or it is of another network.
  """
  is_sorted = path.suffix.lower() == '.safetensors'
  read_file = safetensors_files.read if is_sorted else torch_files.read
  tensors = {
    name: array
    for name, array in without_wrappers(read_file(path)).items()
    if not _IGNORED.fullmatch(name)
  }
  if tensors and all(name.startswith(_OURS) for name in tensors):
    raise UserError(
      f'{path} has the weights of a model folder, which needs no import: name the folder that it '
      f'came in, with its {" and ".join(_BESIDE)}, as RUN'
    )
  with _naming(path):
    known.check_is_here(tensors)
    _check_numbers(tensors)
  ours = layers_of(layer_calls(target.module, target.image_shape), target.shapes)
  names = {t.name for layer in ours for t in layer.tensors.values() if t.path is not None}
  remarks: list[str] = []
  normalization, epsilon = None, target.epsilon
  buffers = {name: array for name, array in tensors.items() if name.startswith(_NORMALIZE)}
  if buffers or names <= tensors.keys():
    tensors = {k: v for k, v in tensors.items() if k not in buffers}
    normalization = _normalization(path, buffers, target.image_shape)
  elif family := known.find(target.module, tensors):
    with _naming(path):
      tensors = family.rename(target.module, tensors)
    remarks += [f'its tensors have the names of {family.name}', *family.remarks]
  else:
    tensors, remarks = torch_order.match(path, tensors, ours, is_sorted)
    if epsilon is None and any(layer.epsilon == torch_order.KERAS_EPSILON for layer in ours):
      epsilon = torch_order.USUAL_EPSILON
      remarks.append(
        f'its BatchNorm is taken to add {epsilon:g} to variances, as PyTorch does unless told '
        f'otherwise (--epsilon), where this network adds {torch_order.KERAS_EPSILON:g}; the '
        'difference was put into the running variances'
      )
  tensors = _with_epsilon(tensors, ours, epsilon)
  if remarks and isinstance(target.module, ResNet) and target.module.shortcut == 'pad':
    remarks.append(_PADS)
  return Imported(_variables(path, tensors, ours), normalization, tuple(remarks))


@contextlib.contextmanager
def _naming(path: pathlib.Path) -> Iterator[None]:
  """Puts the file before what is said about its tensors."""
  try:
    yield
  except UserError as error:
    raise UserError(f'{path}: {error}') from None


def _check_numbers(tensors: Mapping[str, np.ndarray]) -> None:
  for name, array in tensors.items():
    if not np.issubdtype(array.dtype, np.floating):
      raise UserError(
        f'{name} is of {array.dtype}, and weights are floating-point numbers; save the state dict '
        'of the network alone, not quantized'
      )
    if not np.isfinite(array).all():
      raise UserError(f'{name} has numbers that are not finite; get the file again')


def _with_epsilon(
  tensors: Mapping[str, np.ndarray], ours: list[Layer], epsilon: float | None
) -> dict[str, np.ndarray]:
  """The tensors with variances to which our BatchNorm adds its own epsilon and gets what theirs
  got.
  """
  found = dict(tensors)
  for layer in ours:
    if layer.kind == 'batch_norm' and epsilon is not None:
      name = layer.tensors['running_var'].name
      if name in found:
        found[name] = found[name].astype(np.float32) + np.float32(epsilon - layer.epsilon)
  return found


def _variables(
  path: pathlib.Path, tensors: Mapping[str, np.ndarray], ours: list[Layer]
) -> dict[str, Any]:
  """The variables of tensors that have our names."""
  wanted = [tensor for layer in ours for tensor in layer.tensors.values()]
  missing = [t.name for t in wanted if t.name not in tensors and t.path is not None]
  unused = [name for name in tensors if name not in {t.name for t in wanted}]
  wrong = [
    f'{t.name} {list(tensors[t.name].shape)} in place of {list(t.shape)}'
    for t in wanted
    if t.name in tensors and tensors[t.name].shape != t.shape
  ]
  reasons = (('it lacks', missing), ('there is no place for', unused), ('it has', wrong))
  for what, names in reasons:
    if names:
      raise UserError(
        f'{path} is of another network: {what} {listed(names, _NAMED)}; set --config.model, the '
        'classes and the image size to those of the network that it was made for'
      )
  found: dict[tuple[str, ...], np.ndarray] = {}
  for tensor in wanted:
    if tensor.path is not None:
      array = tensor.restore(np.asarray(tensors[tensor.name], np.float32))
      found[tensor.path] = np.ascontiguousarray(array)
    elif tensor.name in tensors:
      _check_constant(path, tensor, tensors[tensor.name])
  return {'params': {}, 'batch_stats': {}, **unflatten_dict(found)}


def _check_constant(path: pathlib.Path, tensor: Tensor, array: np.ndarray) -> None:
  if not np.allclose(array, tensor.constant, rtol=0, atol=1e-6):
    raise UserError(
      f'{path} is of another network: {tensor.name} is trained there, and this network has '
      f'{tensor.constant:g} in its place'
    )


def _normalization(
  path: pathlib.Path, buffers: Mapping[str, np.ndarray], image_shape: tuple[int, int, int]
) -> Statistics | None:
  """What `torch_export` wrote of the first layer."""
  if not buffers:
    return None
  height, width, channels = image_shape
  size = height * width * channels
  kinds = {
    name.removeprefix(_NORMALIZE): array.astype(np.float32) for name, array in buffers.items()
  }
  shapes = {name: array.shape for name, array in kinds.items()}
  if shapes == {'mean': (size,), 'whitening': (size, size)}:
    order = np.arange(size).reshape(channels, height, width).transpose(1, 2, 0).ravel()
    mean, matrix = kinds['mean'][order], kinds['whitening'][np.ix_(order, order)]
    return Statistics(mean, np.ones(size, np.float32), matrix)
  sized = {*shapes.values()} <= {(1, 1, 1), (channels, 1, 1)}
  if shapes.keys() == {'mean', 'std'} and sized and kinds['std'].min() > 0:
    return Statistics(kinds['mean'].ravel(), kinds['std'].ravel())
  raise UserError(f'{path} is damaged: {listed(list(buffers), _NAMED)} are no normalization')
