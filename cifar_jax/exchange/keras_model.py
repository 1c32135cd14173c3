"""Makes a model of Keras of a network: its graph, its weights, and its preprocessing in front.

What Keras would take from its own settings (the order of axes, the dtype) is said of each layer, so
that a model means the same wherever it is opened.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from cifar_jax.exchange.keras_graph import Node
from cifar_jax.exchange.keras_layers import Step, Weight
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.optional_deps import require


def keras() -> Any:
  """Keras, on JAX unless KERAS_BACKEND names another backend.

  Raises:
    UserError: it is not installed, or has no such backend.
  """
  os.environ.setdefault('KERAS_BACKEND', 'jax')
  try:
    return require('keras', 'keras')[0]
  except ValueError as error:
    backend = os.environ['KERAS_BACKEND']
    raise UserError(f'KERAS_BACKEND={backend}: Keras has no such backend ({error})') from None


class _Hiding:
  """A finder of modules that finds no TensorFlow. (None in its place among the modules would do
  as well, but for those who ask whether its name is there.)
  """

  def __init__(self, finder: Any):
    self._finder = finder

  def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
    return None if name == 'tensorflow' else self._finder.find_spec(name, path, target)

  def __getattr__(self, name: str) -> Any:
    return getattr(self._finder, name)


@contextlib.contextmanager
def without_tensorflow() -> Iterator[None]:
  """A block in which Keras finds no TensorFlow, unless that is its backend or already there.

  Keras would import it where it is installed, only to ask whether an object is one of its: that
  takes many seconds, and it prints lines of its own which no setting turns off.
  """
  if 'tensorflow' in sys.modules or keras().backend.backend() == 'tensorflow':
    yield
    return
  finders = list(sys.meta_path)
  sys.meta_path[:] = map(_Hiding, finders)
  try:
    yield
  finally:
    sys.meta_path[:] = finders


def make(
  nodes: Sequence[Node],
  variables: Mapping[str, Any],
  front: Sequence[Step] = (),
  *,
  name: str,
  softmax: bool = False,
) -> Any:
  """The model, for inputs float32 [B, H, W, C] and outputs float32 [B, classes].

  Args:
    nodes: Of `keras_graph.trace`.
    variables: Those of the network, 'params' and perhaps 'batch_stats'.
    front: Layers between the images and the network.
    name: Of the model.
    softmax: Whether it gives probabilities, not logits.
  """
  library = keras()
  images = library.Input(nodes[0].input_shape, dtype='float32', name=nodes[0].name)
  outputs = images
  for number, step in enumerate(front):
    outputs = _apply(_layer(library, step, f'preprocessing_{number}'), step.weights, {}, outputs)
  tensors = [outputs]
  made: dict[str, Any] = {}  # a layer that the network uses twice is one layer
  for node in nodes[1:]:
    layer = made.setdefault(node.name, _layer(library, node, node.name))
    inputs = [tensors[number] for number in node.inputs]
    tensors.append(_apply(layer, node.weights, variables, inputs if len(inputs) > 1 else inputs[0]))
  outputs = tensors[-1]
  if softmax:
    outputs = library.layers.Softmax(name='probabilities', dtype='float32')(outputs)
  return library.Model(images, outputs, name=name)


def _layer(library: Any, step: Step | Node, name: str) -> Any:
  options = dict(step.options)
  if step.kind == 'Flatten' or step.kind.endswith(('1D', '2D')):
    options['data_format'] = 'channels_last'
  if any(weight.constant is not None for weight in step.weights):
    options['trainable'] = False
  return getattr(library.layers, step.kind)(name=name, dtype='float32', **options)


def _apply(layer: Any, weights: Sequence[Weight], variables: Mapping[str, Any], inputs: Any) -> Any:
  outputs = layer(inputs)
  if weights:
    layer.set_weights([_values(weight, variables) for weight in weights])
  return outputs


def _values(weight: Weight, variables: Mapping[str, Any]) -> np.ndarray:
  if weight.constant is not None:
    return weight.constant
  node: Any = variables
  for part in weight.path:
    node = node[part]
  return np.asarray(node, np.float32).reshape(weight.shape)
