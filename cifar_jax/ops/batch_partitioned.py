"""Partitioning along the batch of calls that the compiler cannot divide among devices."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

from cifar_jax.ops.dispatch import is_on_one_device


def batch_partitioned(
  function: Callable[..., jax.Array], rule: str, has_batch: Sequence[bool], summed: bool = False
) -> Callable[..., jax.Array]:
  """Returns the function, which each device applies to its rows of what lies over several.

  Args:
    function: Makes an array of arrays.
    rule: The names of their axes, as in 'b i, i o -> b o'; an axis that stands for the batch has
      one name in all operands that have it.
    has_batch: For each operand, whether its first axis is the batch; if not, it is whole on every
      device.
    summed: Whether the results of some rows are added to those of others, instead of put beside
      them.
  """
  if is_on_one_device():
    return function
  first = tuple(has_batch).index(True)

  def partition(mesh: Any, arguments: Any, result: Any) -> tuple[Any, ...]:
    del result
    spec = arguments[first].sharding.spec
    axis = spec[0] if len(spec) else None
    whole = NamedSharding(mesh, PartitionSpec())
    parts = NamedSharding(mesh, PartitionSpec(axis))

    def of_own_rows(*operands: jax.Array) -> jax.Array:
      found = function(*operands)
      return lax.psum(found, axis) if summed and axis is not None else found

    shardings = tuple(parts if has_rows else whole for has_rows in has_batch)
    return mesh, of_own_rows, whole if summed else parts, shardings

  divided = custom_partitioning(lambda *operands: function(*operands))
  divided.def_partition(partition=partition, sharding_rule=rule)
  return divided
