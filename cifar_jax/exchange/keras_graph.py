"""A network as a graph of Keras's layers, read from what its own Python code does.

JAX traces the network with each layer of this package (and of Flax) as one operation; what stands
between the layers (sums, concatenations, reshapes) becomes a layer of Keras where there is one. So
no network needs a second description, and one that is the user's own goes through if it consists of
such layers. Neither Keras nor weights are needed for it.
"""

import collections
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.extend.core import Literal, Primitive

from cifar_jax import models
from cifar_jax.exchange.keras_config import Op, deciding
from cifar_jax.exchange.keras_layers import STEPS, Step, Weight, between
from cifar_jax.utils.errors import UserError

_BATCH = 2  # images of the trace
# Of the parts of a path in a layer's name: Keras refuses '/', and '.' when it runs on PyTorch.
_SEPARATOR = '-'
# Operations that are others, done once, and where they keep those.
_CALLS = (
  'checkpoint',
  'closed_call',
  'custom_jvp_call',
  'custom_vjp_call',
  'jit',
  'pjit',
  'remat2',
)
_INSIDE = ('jaxpr', 'call_jaxpr')
_SAME = ('convert_element_type', 'copy', 'stop_gradient')

_layer = Primitive('layer_of_keras')
_layer.def_abstract_eval(lambda inputs, *, shape, dtype, place: jax.core.ShapedArray(shape, dtype))


@dataclasses.dataclass(frozen=True, eq=False)
class Node:
  """A layer of Keras and what it is applied to.

  Attributes:
    name: Its name in Keras, unique in the graph; of a layer with variables their path.
    kind: The name of its class in Keras.
    options: What its constructor is given, beside name, dtype and order of axes.
    weights: Its variables in Keras's order.
    inputs: The indices of the nodes before it; the images are node 0.
    input_shape: Of the first of its inputs, without the batch, where it is known.
  """

  name: str
  kind: str
  options: Mapping[str, Any]
  weights: tuple[Weight, ...]
  inputs: tuple[int, ...]
  input_shape: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class _Tensor:
  """The outputs of a node."""

  node: int


# Of what does not depend on the images: a number, or a name for the message that refuses it.
_Value = _Tensor | float | str


def trace(
  module: nn.Module, shapes: Mapping[str, Any], image_shape: Sequence[int]
) -> tuple[Node, ...]:
  """The layers of a network, each behind those that it takes; the last one gives the logits.

  Args:
    module: The network.
    shapes: Its variables, arrays or what `jax.eval_shape` makes of them.
    image_shape: (H, W, C) of the images.

  Raises:
    UserError: a part of it is no layer of Keras; the message names it.
  """
  calls: list[tuple[tuple[str, ...], list[Step]]] = []

  def as_one(next_function: Any, args: Any, kwargs: Any, context: Any) -> Any:
    outputs = next_function(*args, **kwargs)
    layer = context.module
    if context.method_name != '__call__' or type(layer) not in STEPS:
      return outputs
    calls.append((layer.path, STEPS[type(layer)](layer, args[0].shape)))
    return _layer.bind(args[0], shape=outputs.shape, dtype=outputs.dtype, place=len(calls) - 1)

  def apply(variables: Any, images: jax.Array) -> jax.Array:
    with nn.intercept_methods(as_one):
      return models.apply(module, variables, images, train=False)

  structs = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), dict(shapes))
  images = jax.ShapeDtypeStruct((_BATCH, *image_shape), jnp.float32)
  traced = jax.make_jaxpr(apply)(structs, images).jaxpr
  names = [
    jax.tree_util.keystr(path, simple=True, separator='/')
    for path, _ in jax.tree_util.tree_leaves_with_path(structs)
  ]
  reader = _Reader(calls, tuple(image_shape))
  (logits,) = reader.values(traced, [*names, _Tensor(0)], traced.outvars)
  if logits != _Tensor(len(reader.nodes) - 1):
    raise UserError('its logits do not follow from the images by layers of Keras')
  return tuple(reader.nodes)


def operations(nodes: Sequence[Node]) -> tuple[list[Op], list[int]]:
  """A network in the terms of a description, and of each operation the node that it is of."""
  ops: list[Op] = []
  owners: list[int] = []
  places: list[int] = []
  for index, node in enumerate(nodes):
    inputs = tuple(places[number] for number in node.inputs)
    if node.kind == 'Dropout':
      places.append(inputs[0])
      continue
    options = deciding(node.kind, node.options)
    ops.append(Op(node.name, node.kind, options, inputs, True, node.input_shape))
    owners.append(index)
    activation = node.options.get('activation', 'linear')
    if node.kind != 'Activation' and activation != 'linear':
      options = {'activation': activation}
      ops.append(Op(node.name, 'Activation', options, (len(ops) - 1,), False))
      owners.append(index)
    places.append(len(ops) - 1)
  return ops, owners


class _Reader:
  """Makes nodes of the operations on which the wanted ones depend, and only of those: what a layer
  does inside is traced too, but nothing asks for it.
  """

  def __init__(self, calls: Sequence[tuple[tuple[str, ...], list[Step]]], image_shape: Any):
    self.nodes = [Node('images', 'InputLayer', {}, (), (), image_shape)]
    self._calls = calls
    self._numbers: collections.Counter[str] = collections.Counter()

  def values(self, jaxpr: Any, inputs: Sequence[_Value], wanted: Sequence[Any]) -> list[_Value]:
    """What variables of a jaxpr are, given what its inputs are."""
    known: dict[Any, _Value] = dict(zip(jaxpr.invars, inputs, strict=True))
    known |= dict.fromkeys(jaxpr.constvars, 'a constant')
    needed = set(filter(_is_variable, wanted))
    used = []
    for equation in reversed(jaxpr.eqns):
      if needed.intersection(equation.outvars):
        used.append(equation)
        needed |= set(filter(_is_variable, equation.invars))
    for equation in reversed(used):
      values = [known[v] if _is_variable(v) else v.val for v in equation.invars]
      known.update(zip(equation.outvars, self._results(equation, values), strict=True))
    return [known[v] if _is_variable(v) else v.val for v in wanted]

  def _results(self, equation: Any, values: list[_Value]) -> list[_Value]:
    name = equation.primitive.name
    if name in _CALLS:
      inner = next(equation.params[key] for key in _INSIDE if key in equation.params)
      inner = getattr(inner, 'jaxpr', inner)
      return self.values(inner, values, inner.outvars)
    tensors = [value for value in values if isinstance(value, _Tensor)]
    names = [value for value in values if isinstance(value, str)]
    if name in _SAME:
      return values
    if not tensors:
      return [next(iter(names), 'a constant')] * len(equation.outvars)
    if name == _layer.name:
      path, steps = self._calls[equation.params['place']]
    else:
      path, steps = (), self._between(equation, values)
    shapes = [
      v.aval.shape[1:]
      for v, value in zip(equation.invars, values, strict=True)
      if isinstance(value, _Tensor)
    ]
    return [self._add(path, steps, tensors, shapes[0])]

  def _between(self, equation: Any, values: list[_Value]) -> list[Step]:
    pairs = list(zip(equation.invars, values, strict=True))
    shapes = [tuple(v.aval.shape) for v, value in pairs if isinstance(value, _Tensor)]
    others = [value for value in values if not isinstance(value, _Tensor)]
    output, name = tuple(equation.outvars[0].aval.shape), equation.primitive.name
    if name in ('add', 'mul', 'max') and not isinstance(values[0], _Tensor):
      pairs.reverse()
    plain = not any(isinstance(value, str) for value in others) and len(others) <= 1
    first = isinstance(pairs[0][1], _Tensor)
    whole = all(shape[:1] == (_BATCH,) for shape in (*shapes, output))
    if plain and first and whole and len(equation.outvars) == 1:
      number = float(others[0]) if others else None
      steps = between(name, equation.params, shapes, output, number)
      if steps is not None:
        return steps
    beside = ', '.join(sorted({str(value) for value in others if isinstance(value, str)}))
    raise UserError(
      f"Keras has no layer for the operation '{name}'{f' with {beside}' if beside else ''} in "
      f'{str(equation.source_info.name_stack) or "the network"}'
    )

  def _add(
    self, path: tuple[str, ...], steps: Sequence[Step], tensors: list[_Tensor], shape: Any
  ) -> _Tensor:
    """Appends the nodes of a layer: mostly one."""
    for step in steps:
      own = path and any(weight.path for weight in step.weights)
      if not own:
        self._numbers[step.kind] += 1
      name = _SEPARATOR.join(path) if own else f'{step.kind.lower()}_{self._numbers[step.kind]}'
      inputs = tuple(tensor.node for tensor in tensors)
      self.nodes.append(Node(name, step.kind, step.options, step.weights, inputs, tuple(shape)))
      tensors, shape = [_Tensor(len(self.nodes) - 1)], ()
    return tensors[0]


def _is_variable(variable: Any) -> bool:
  return not isinstance(variable, Literal)
