"""Which array of a layer of Keras is which variable of ours."""

import collections
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cifar_jax.exchange.keras_graph import Node
from cifar_jax.exchange.keras_layers import Weight
from cifar_jax.exchange.keras_match import Match
from cifar_jax.utils.errors import UserError

Arrays = Mapping[str, np.ndarray]

# What a layer computes without a variable.
_ABSENT = {'bias': 0.0, 'beta': 0.0, 'gamma': 1.0}
_SAME_NAMES = {'depthwise_kernel': 'kernel'}


def class_keys(layers: Sequence[tuple[str, str]]) -> dict[str, str]:
  """By what Keras 3 calls the layers (name, class) of a model in a file: the class, counted."""
  counts: collections.Counter[str] = collections.Counter()
  keys = {}
  for name, kind in layers:
    words = re.sub(r'(.)([A-Z][a-z]+)', r'\1_\2', re.sub(r'\W+', '', kind))
    words = re.sub(r'([a-z])([A-Z])', r'\1_\2', words).lower()
    keys[name] = f'{words}_{counts[words]}' if counts[words] else words
    counts[words] += 1
  return keys


def named(layer: str, kind: str, arrays: Arrays, options: Mapping[str, Any]) -> dict[str, Any]:
  """The arrays of a layer by Keras's names, of a file that has them by name or counts them.

  Raises:
    UserError: there are too many or too few.
  """
  if not all(name.isdigit() for name in arrays):
    return {_SAME_NAMES.get(name, name): array for name, array in arrays.items()}
  if kind in ('BatchNormalization', 'LayerNormalization'):
    names = [
      name for name, option in (('gamma', 'scale'), ('beta', 'center')) if options.get(option, True)
    ]
    names += ['moving_mean', 'moving_variance'] if kind == 'BatchNormalization' else []
  elif kind == 'Normalization':
    names = ['mean', 'variance', 'count']
  else:
    names = ['kernel', 'bias'][: len(arrays)]
  if len(names) != len(arrays):
    raise UserError(
      f'its layer {layer!r} has {len(arrays)} arrays, where a {kind} has {len(names)}'
    )
  return dict(zip(names, (arrays[str(number)] for number in range(len(arrays))), strict=True))


def taken(
  nodes: Sequence[Node],
  layers: Mapping[str, str],
  arrays: Mapping[str, Arrays],
  shapes: Mapping[str, Any],
  match: Match | None,
  turned: bool,
) -> dict[str, Any]:
  """The variables of a network, 'params' and 'batch_stats', NumPy, float32.

  Args:
    nodes: The network.
    layers: By the name of a node the layer of the file that it is.
    arrays: Those of each layer of the file, by Keras's names.
    shapes: The variables as shapes.
    match: How the file's model was matched, None where it says nothing of it.
    turned: Whether kernels of convolutions are turned by 180 degrees.

  Raises:
    UserError: an array has another shape, or no place.
  """
  variables: dict[str, Any] = {'params': {}, 'batch_stats': {}}
  for node in nodes:
    if not any(weight.path for weight in node.weights):
      continue
    layer = layers[node.name]
    found = dict(arrays[layer])
    if 'kernel' in found:
      found['kernel'] = _kernel(found['kernel'], node, match, turned)
    if match and match.two_logits == layer:
      found = {name: np.concatenate([0 * a, a], axis=-1) for name, a in found.items()}
    for weight in node.weights:
      array = found.pop(weight.name, None)
      if array is None:
        if weight.name not in _ABSENT:
          raise UserError(f'its layer {layer!r} lacks its {weight.name}, for {node.name}')
        array = np.full(weight.shape, _ABSENT[weight.name], np.float32)
      _place(variables, shapes, weight, array, layer)
    for name, array in found.items():
      if name not in _ABSENT or not np.all(array == _ABSENT[name]):
        raise UserError(
          f'its layer {layer!r} has {name} {list(array.shape)}, for which {node.name} of the '
          'network has no place'
        )
  return variables


def _kernel(kernel: np.ndarray, node: Node, match: Match | None, turned: bool) -> np.ndarray:
  """A kernel as Keras 2 and 3 keep it, with channels last."""
  wanted = next(weight.shape for weight in node.weights if weight.name == 'kernel')
  if len(wanted) == 4 and kernel.ndim == 4:
    if kernel.shape != wanted and kernel.transpose(2, 3, 1, 0).shape == wanted:
      kernel = kernel.transpose(2, 3, 1, 0)  # of Keras 1, with channels first
    return kernel[::-1, ::-1] if turned else kernel
  if match and node.name in match.channel_major and kernel.ndim == 2:
    height, width, channels = match.channel_major[node.name]
    if kernel.shape[0] == height * width * channels:
      inputs = kernel.reshape(channels, height, width, -1)
      return inputs.transpose(1, 2, 0, 3).reshape(kernel.shape)
  return kernel


def _place(
  variables: dict[str, Any],
  shapes: Mapping[str, Any],
  weight: Weight,
  array: np.ndarray,
  layer: str,
) -> None:
  where = '/'.join(weight.path)
  if array.shape != weight.shape:
    raise UserError(
      f'its {layer}/{weight.name} has the shape {list(array.shape)}, where {where} of the network '
      f'has {list(weight.shape)}; choose the network that it was made for'
    )
  values = np.asarray(array, np.float32)
  if not np.isfinite(values).all():
    raise UserError(f'its {layer}/{weight.name} has numbers that are infinite or none')
  inner, shape = variables, shapes
  for part in weight.path[:-1]:
    inner, shape = inner.setdefault(part, {}), shape[part]
  inner[weight.path[-1]] = values.reshape(shape[weight.path[-1]].shape)
