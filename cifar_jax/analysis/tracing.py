"""The layers of a network, traced from the Flax module.

`trace` runs the module abstractly, so it costs no memory and needs no data, and lists the modules
that hold no other modules. Functions that a network applies between its modules (nn.relu,
nn.max_pool, a reshape) are recognized by their operations in the traced program and listed as
layers too; other arithmetic between modules (residual sums, concatenations, padding, an activation
written out by hand) is not listed, though the shapes show its effect.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from cifar_jax import models
from cifar_jax.layers import activation_names

NO_ACTIVATION = ('', 'linear')
_ENTER, _EXIT = 'enter layer ', 'exit layer '

# Module classes, ours and Flax's, whose class in Keras has another name; {rank} counts the axes of
# a map.
_KINDS = {
  'AveragePool': 'AveragePooling{rank}D',
  'BatchNorm': 'BatchNormalization',
  'Conv': 'Conv{rank}D',
  'ConvTranspose': 'Conv{rank}DTranspose',
  'Embed': 'Embedding',
  'GlobalAveragePool': 'GlobalAveragePooling{rank}D',
  'LayerNorm': 'LayerNormalization',
  'MaxPool': 'MaxPooling{rank}D',
}

# Operations of a traced program outside of any layer, and the layer that Keras has for them.
_WINDOWS = {'reduce_window_max': 'MaxPooling{rank}D', 'reduce_window_sum': 'AveragePooling{rank}D'}
_REDUCTIONS = {'reduce_max': 'GlobalMaxPooling{rank}D', 'reduce_sum': 'GlobalAveragePooling{rank}D'}
_FUNCTIONS = {name: name for name in (*activation_names(), 'log_softmax', 'softmax')} | {
  'erf': 'gelu',
  'erfc': 'gelu',
  'hard_swish': 'hard_silu',
  'logistic': 'sigmoid',
  'soft_sign': 'softsign',
  'swish': 'silu',
}


@dataclasses.dataclass(frozen=True)
class LayerRecord:
  """One layer of a network.

  Attributes:
    name: Path of the module in the parameters, as 'Conv_0' or 'Block_1/Conv_0'; '' for a function.
    kind: The layer's class in Keras, or the module's own class where Keras has none.
    input_shape: The shape of its input without the batch axis.
    output_shape: The shape of its output without the batch axis.
    trainable: Number of trainable parameters.
    non_trainable: Number of other values, as the running statistics of BatchNorm.
    activation: The name of its activation, '' for none.
  """

  name: str
  kind: str
  input_shape: tuple[int, ...]
  output_shape: tuple[int, ...]
  trainable: int = 0
  non_trainable: int = 0
  activation: str = ''

  @property
  def parameters(self) -> int:
    """All parameters, counted as Keras does: running statistics included."""
    return self.trainable + self.non_trainable


def trace(
  module: nn.Module, image_shape: Sequence[int], output_activation: str = 'softmax'
) -> tuple[LayerRecord, ...]:
  """Lists the layers of a network in the order in which they are applied.

  As many records come back as Keras counts layers: an activation that is part of a convolution or
  dense layer belongs to its record, one that is applied separately has its own, and so has the
  output activation.

  Args:
    output_activation: What the loss applies to the logits: 'softmax', 'sigmoid' or '' for nothing.

  Raises:
    UserError: the network cannot take such images.
  """
  images = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
  keys = jax.eval_shape(lambda: jax.random.key(0))
  variables = jax.eval_shape(
    lambda key, images: module.init({'params': key, 'dropout': key}, images, train=False),
    keys,
    images,
  )
  calls: list[_Call] = []
  under_way: list[_Call] = []

  def mark(method: Any, arguments: tuple[Any, ...], options: dict[str, Any], context: Any) -> Any:
    inputs = _first_array((arguments, options))
    if context.method_name != '__call__' or inputs is None:
      return method(*arguments, **options)
    number = len(calls)
    call = _Call(context.module.path, context.module, inputs.shape[1:])
    calls.append(call)
    if under_way:
      under_way[-1].is_leaf = False
    # An operation that does nothing but carry a name marks the place in the traced program.
    checkpoint_name(inputs, f'{_ENTER}{number}')
    under_way.append(call)
    outputs = method(*arguments, **options)
    under_way.pop()
    result = _first_array(outputs)
    call.output_shape = inputs.shape[1:] if result is None else result.shape[1:]
    checkpoint_name(inputs if result is None else result, f'{_EXIT}{number}')
    return outputs

  def run(variables: Any, images: jax.Array, key: jax.Array) -> Any:
    with nn.intercept_methods(mark):
      return models.apply(
        module,
        variables,
        images,
        train=True,
        rngs={'dropout': key},
        mutable=[collection for collection in variables if collection != 'params'],
      )

  program = jax.make_jaxpr(run)(variables, images, keys)
  records = list(_records(program.jaxpr, calls, variables))
  if output_activation:
    classes = records[-1].output_shape
    records.append(LayerRecord('', 'Activation', classes, classes, activation=output_activation))
  return tuple(records)


@dataclasses.dataclass
class _Call:
  """A module's call, seen while tracing."""

  path: tuple[str, ...]
  module: nn.Module
  input_shape: tuple[int, ...]
  output_shape: tuple[int, ...] = ()
  is_leaf: bool = True


def _first_array(tree: Any) -> Any:
  return next((leaf for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)), None)


def _records(
  program: Any, calls: Sequence[_Call], variables: Mapping[str, Any]
) -> Iterator[LayerRecord]:
  """Turns the operations of a traced program, in order, into layers."""
  stack: list[int] = []
  counted: set[tuple[str, ...]] = set()
  cubed = False
  for operation in _flat(program):
    label = _label(operation)
    if label.startswith(_ENTER):
      stack.append(int(label.removeprefix(_ENTER)))
      cubed = False
    elif label.startswith(_EXIT):
      call = calls[stack.pop()]
      # Parameters of a module that is called twice count once.
      first = call.path not in counted
      counted.add(call.path)
      trainable, non_trainable = _own_parameters(variables, call.path) if first else (0, 0)
      if call.is_leaf or trainable or non_trainable:
        yield _module_record(call, trainable, non_trainable)
    elif not stack or not calls[stack[-1]].is_leaf:
      # Flax's default gelu is written out as tanh(c * (x + 0.044715 x^3)): the cube tells it from a
      # plain tanh.
      label = 'gelu' if cubed and label == 'tanh' else label
      cubed = operation.params.get('y') == 3 or (cubed and label != 'gelu')
      yield from _function_record(operation, label)


def _flat(program: Any) -> Iterator[Any]:
  """All operations in order, those of nested programs in place, but named activations whole."""
  for operation in program.eqns:
    inner = operation.params.get('jaxpr', operation.params.get('call_jaxpr'))
    if inner is None or _label(operation) in _FUNCTIONS:
      yield operation
    else:
      yield from _flat(getattr(inner, 'jaxpr', inner))


def _label(operation: Any) -> str:
  """The name that a function or a mark was traced under, else that of the primitive."""
  return str(operation.params.get('name') or operation.primitive.name)


def _module_record(call: _Call, trainable: int, non_trainable: int) -> LayerRecord:
  kind = type(call.module).__name__
  spatial = call.input_shape if kind.startswith('Global') else call.output_shape
  activation = getattr(call.module, 'activation', '')
  activation = (
    activation if isinstance(activation, str) else getattr(activation, '__name__', '')
  ).split('(')[0]
  return LayerRecord(
    name='/'.join(call.path),
    kind=_KINDS.get(kind, kind).format(rank=len(spatial) - 1),
    input_shape=call.input_shape,
    output_shape=call.output_shape,
    trainable=trainable,
    non_trainable=non_trainable,
    activation='' if activation in NO_ACTIVATION else activation,
  )


def _function_record(operation: Any, label: str) -> Iterator[LayerRecord]:
  primitive = operation.primitive.name
  sources = [source.aval.shape for source in operation.invars if hasattr(source.aval, 'shape')]
  if not sources or not sources[0] or not operation.outvars[0].aval.shape:
    return
  before, after = sources[0][1:], operation.outvars[0].aval.shape[1:]
  rank = len(before) - 1
  kind, activation = '', ''
  if label in _FUNCTIONS and before == after:
    kind, activation = 'Activation', _FUNCTIONS[label]
  elif primitive in _WINDOWS and len(after) > 1:
    kind = _WINDOWS[primitive]
  elif primitive in _REDUCTIONS and operation.params['axes'] == tuple(range(1, rank + 1)):
    kind = _REDUCTIONS[primitive] if rank else ''
  elif primitive == 'reshape' and len(before) > 1 and after == (math.prod(before),):
    kind = 'Flatten'
  if kind:
    yield LayerRecord('', kind.format(rank=rank), before, after, activation=activation)


def _own_parameters(variables: Mapping[str, Any], path: tuple[str, ...]) -> tuple[int, int]:
  """Numbers of trainable and other values of a module itself, not of modules in it."""
  sizes = [0, 0]
  for collection, tree in variables.items():
    for key in path:
      tree = tree.get(key, {})
    arrays = [leaf for leaf in tree.values() if not isinstance(leaf, Mapping)]
    sizes[collection != 'params'] += sum(math.prod(array.shape) for array in arrays)
  return sizes[0], sizes[1]
