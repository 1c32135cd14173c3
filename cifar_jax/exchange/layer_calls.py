"""The calls of a network's layers, in the order in which it makes them, with their shapes."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cifar_jax import models


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
  """One call of a module inside of a network.

  Attributes:
    path: The path of the module, such as ('stem', 'Conv_0').
    module: The module itself.
    inputs: The array that it was given, while the network was traced.
    outputs: The array that it returned.
  """

  path: tuple[str, ...]
  module: nn.Module
  inputs: Any
  outputs: Any

  @property
  def input_shape(self) -> tuple[int, ...]:
    """The shape of what it was given, without the batch axis."""
    return tuple(self.inputs.shape[1:])

  @property
  def output_shape(self) -> tuple[int, ...]:
    """The shape of what it returned, without the batch axis."""
    return tuple(self.outputs.shape[1:])


def layer_calls(module: nn.Module, image_shape: Sequence[int]) -> tuple[Call, ...]:
  """The calls of a network in evaluation, itself first, each before those of the modules in it.

  Nothing is computed. The arrays of two calls are the same object where one takes just what the
  other returned.

  Raises:
    UserError: the network cannot take such images.
  """
  if hasattr(module, 'dtype'):  # a conversion would stand between two layers
    module = module.clone(dtype=jnp.float32)
  found: list[Call | None] = []

  def note(method: Any, arguments: tuple[Any, ...], options: dict[str, Any], context: Any) -> Any:
    if context.method_name != '__call__':
      return method(*arguments, **options)
    place = len(found)
    found.append(None)
    outputs = method(*arguments, **options)
    inputs = next((leaf for leaf in jax.tree.leaves((arguments, options))), None)
    if isinstance(inputs, jax.Array) and isinstance(outputs, jax.Array):
      found[place] = Call(context.module.path, context.module, inputs, outputs)
    return outputs

  def run(key: jax.Array, images: jax.Array) -> Any:
    variables = module.init(key, images, train=False)
    found.clear()
    with nn.intercept_methods(note):
      return models.apply(module, variables, images, train=False)

  jax.eval_shape(run, jax.random.key(0), jax.ShapeDtypeStruct((1, *image_shape), jnp.float32))
  return tuple(call for call in found if call is not None)
