"""Weights of a network that Keras trained: .keras, .h5 of Keras 1 to 3, .weights.h5.

A file that describes its model is compared with the network layer by layer, whatever its layers are
called: a different window or activation is an error, not a wrong prediction. A file of weights
alone is matched by the order of its layers, and by the shapes of their arrays.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from cifar_jax.exchange import keras_config, keras_match
from cifar_jax.exchange.imports import Imported, Target
from cifar_jax.exchange.keras_arrays import class_keys, named, taken
from cifar_jax.exchange.keras_front import statistics_of
from cifar_jax.exchange.keras_graph import Node, trace
from cifar_jax.exchange.keras_match import Match
from cifar_jax.utils.errors import UserError
from cifar_jax.weights import keras_process
from cifar_jax.weights.keras_files import Saved

_ROOM = 2**26  # bytes of weights beside four times those of the network: what normalizes, mostly


def read(path: pathlib.Path, target: Target) -> Imported:
  """Reads a file into the variables of a network; nothing that the file contains is run.

  Raises:
    UserError: it cannot be read, or is of another network; the message names the first layer that
      does not fit, and both shapes.
  """
  ours = sum(leaf.size for leaf in jax.tree.leaves(dict(target.shapes)))
  saved = keras_process.load(path, 16 * ours + _ROOM)
  try:
    nodes = trace(target.module, target.shapes, target.image_shape)
    if saved.config is None:
      return _by_order(nodes, saved, target)
    return _by_description(nodes, saved, target)
  except UserError as error:
    raise UserError(f'{path}: {error}') from None


def _by_description(nodes: Sequence[Node], saved: Saved, target: Target) -> Imported:
  assert saved.config is not None
  described = keras_config.parse(saved.config, saved.version)
  keys = class_keys(described.order) if saved.by_class else {}
  by_name = {name: key for key, name in saved.names.items()}
  arrays: dict[str, dict[str, np.ndarray]] = {}
  for name, kind in described.order:
    key = by_name.get(name, keys.get(name, name))
    found = saved.arrays.get(key, {})
    arrays[name] = named(name, kind, found, described.options[name]) if found else {}
  match = keras_match.match(nodes, described, arrays)
  layers = {nodes[ours].name: theirs for ours, theirs in match.layers.items()}
  remarks = list(match.remarks)
  if target.epsilon is not None:
    remarks.append(
      'the file says itself what its BatchNorm adds to variances, so --epsilon is not used'
    )
  turned = _turned(saved, match, remarks)
  epsilons = {
    name: keras_config.epsilon_of(described.options[name])
    for name, kind in described.order
    if kind == 'BatchNormalization'
  }
  _shift_variances(nodes, layers, arrays, epsilons, remarks)
  variables = taken(nodes, layers, arrays, target.shapes, match, turned)
  normalization = statistics_of(match.front, arrays, target, remarks)
  return Imported(variables, normalization, tuple(remarks))


def _turned(saved: Saved, match: Match, remarks: list[str]) -> bool:
  """Whether kernels are stored for a convolution that turns them, which Theano's does."""
  if saved.backend:
    return saved.backend == 'theano'
  old = saved.version.startswith('1') or not saved.version
  if old and match.channels_first:
    remarks.append(
      'the file does not say on what its Keras ran; channels first means Theano, whose kernels are '
      'turned by 180 degrees'
    )
    return True
  return False


def _shift_variances(
  nodes: Sequence[Node],
  layers: Mapping[str, str],
  arrays: Mapping[str, dict[str, np.ndarray]],
  epsilons: Mapping[str, float],
  remarks: list[str],
) -> None:
  """Where a file's BatchNorm adds another epsilon, puts the difference into its variances."""
  shifted = set()
  for node in nodes:
    if node.kind != 'BatchNormalization':
      continue
    layer = layers[node.name]
    theirs, ours = epsilons[layer], float(node.options['epsilon'])
    if abs(theirs - ours) > 1e-6 * ours and 'moving_variance' in arrays[layer]:
      variances = arrays[layer]['moving_variance'].astype(np.float64)
      arrays[layer]['moving_variance'] = variances + (theirs - ours)
      shifted.add((theirs, ours))
  for theirs, ours in sorted(shifted):
    remarks.append(
      f'its BatchNorm adds {theirs:g} to variances, where this network adds {ours:g}; the '
      'difference was put into the running variances'
    )


def _by_order(nodes: Sequence[Node], saved: Saved, target: Target) -> Imported:
  """Of a file of weights alone: only a network without branches has an order to go by."""
  if any(len(node.inputs) > 1 for node in nodes):
    raise UserError(
      'it holds weights alone, and the order of layers of a network with branches does not tell '
      'which is which; save the whole model, as model.save("NAME.keras") does'
    )
  ours = [node for node in nodes if node.weights]
  if saved.by_class:
    keys = class_keys([(node.name, node.kind) for node in nodes])
    pairs = [(node, keys[node.name]) for node in ours]
  else:
    filled = [name for name, arrays in saved.arrays.items() if arrays]
    pairs = list(zip(ours, filled, strict=False))
  used = {key for _, key in pairs}
  left = [name for name, arrays in saved.arrays.items() if arrays and name not in used]
  left = [name for name in left if not name.startswith(('normalization', 'random_', 'seed_'))]
  missing = [node.name for node, key in pairs if not saved.arrays.get(key)]
  missing += [node.name for node in ours[len(pairs) :]]
  if left or missing:
    raise UserError(
      f'it has {sum(map(bool, saved.arrays.values()))} layers with weights, where the network has '
      f'{len(ours)}'
      + (f': {", ".join(missing)} would get none' if missing else '')
      + (f'; {", ".join(left[:8])} would be left' if left else '')
    )
  arrays: dict[str, dict[str, np.ndarray]] = {}
  for node, key in pairs:
    options: dict[str, Any] = dict(node.options)
    arrays[key] = named(key, node.kind, saved.arrays[key], options)
  layers = {node.name: key for node, key in pairs}
  remarks = ['the file holds weights alone: its activations, windows and borders were not compared']
  turned = saved.backend == 'theano'
  if target.epsilon is not None:
    _shift_variances(nodes, layers, arrays, dict.fromkeys(arrays, target.epsilon), remarks)
  variables = taken(nodes, layers, arrays, target.shapes, None, turned)
  return Imported(variables, None, tuple(remarks))
