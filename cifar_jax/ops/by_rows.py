"""What the compiler cannot divide among devices, divided by the rows of a batch."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec

from cifar_jax.ops.forms import is_on_one_device


def by_rows(
  function: Callable[..., jax.Array], rule: str, rows_of: Sequence[bool], summed: bool = False
) -> Callable[..., jax.Array]:
  """The function, of which each device computes its rows where the operands lie over several.

  Args:
    function: of arrays; makes an array.
    rule: its axes by name, as in 'b i, i o -> b o'; one that stands for the batch has one name in
      all operands that have it.
    rows_of: for each operand whether the batch is its first axis; the others are whole everywhere.
    summed: whether results of some rows are added to those of others, instead of put beside them.
  """
  if is_on_one_device():
    return function
  first = tuple(rows_of).index(True)

  def partition(mesh: Any, arguments: Any, result: Any) -> tuple[Any, ...]:
    del result
    spec = arguments[first].sharding.spec
    axis = spec[0] if len(spec) else None
    whole = NamedSharding(mesh, PartitionSpec())
    parts = NamedSharding(mesh, PartitionSpec(axis))

    def of_own_rows(*operands: jax.Array) -> jax.Array:
      found = function(*operands)
      return lax.psum(found, axis) if summed and axis is not None else found

    shardings = tuple(parts if has_rows else whole for has_rows in rows_of)
    return mesh, of_own_rows, whole if summed else parts, shardings

  divided = custom_partitioning(lambda *operands: function(*operands))
  divided.def_partition(partition=partition, sharding_rule=rule)
  return divided
