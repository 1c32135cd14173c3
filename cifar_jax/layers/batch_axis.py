"""How a batch is divided among devices, seen from inside the pure step.

Under `jax.jit` over a mesh the step is written for the whole batch and the compiler divides it;
under `jax.pmap` each device runs the step on its own rows, and what concerns the whole batch is
summed over a named axis. The same step serves both, and one device, through a `Division`.

Layers that look across the rows of a batch (BatchNorm) or draw random numbers for them (Dropout)
ask `rows_seen()`, so that a network need not pass an axis name through its modules.
"""

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

# Spreads the leading axis of a tree of arrays over a mesh; the identity on one device.
Spread = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True)
class DataParallel:
  """How the rows of a batch are divided; by default not at all.

  Attributes:
    spread: for `jax.jit` over a mesh: lays the rows of whole arrays out over the devices.
    axis: for `jax.pmap`: the name of the mapped axis; None otherwise.
    parts: devices along `axis`.
  """

  shard_batch: Spread = lambda tree: tree
  axis: str | None = None
  parts: int = 1

  def local_shard(self, tree: Any) -> Any:
    """The rows of whole arrays [B, ...] that this device works on: [B / parts, ...]."""
    axis, parts = self.axis, self.parts
    return tree if axis is None else jax.tree.map(lambda array: own_rows(array, axis, parts), tree)

  def psum(self, tree: Any) -> Any:
    """The sum over the devices."""
    return tree if self.axis is None else lax.psum(tree, self.axis)

  def pmean(self, tree: Any) -> Any:
    """The mean over the devices of what each may hold a little differently; integers stay."""
    if self.axis is None:
      return tree

    def mean(array: jax.Array) -> jax.Array:
      return lax.pmean(array, self.axis) if jnp.issubdtype(array.dtype, jnp.inexact) else array

    return jax.tree.map(mean, tree)

  @contextlib.contextmanager
  def batch_axis_context(self, ghost_rows: int = 0) -> Iterator[None]:
    """While a network is applied: tells its layers what rows they are given.

    Args:
      ghost_rows: rows over which BatchNorm takes its statistics; 0 for the whole batch.
    """
    token = _SEEN.set(BatchAxis(self.axis, self.parts, ghost_rows))
    try:
      yield
    finally:
      _SEEN.reset(token)


@dataclasses.dataclass(frozen=True)
class BatchAxis:
  """What a layer must know about the rows it is given.

  Attributes:
    axis: the mapped axis over whose devices the rest of the batch is; None if it is all here.
    parts: devices along `axis`.
    ghost_rows: rows over which BatchNorm takes its statistics; 0 for the whole batch.
  """

  axis: str | None = None
  parts: int = 1
  ghost_rows: int = 0


_SEEN: contextvars.ContextVar[BatchAxis | None] = contextvars.ContextVar('rows_seen', default=None)


def current_batch_axis() -> BatchAxis:
  """What `Division.seen_by_layers` said; outside of it, that all rows are here."""
  return _SEEN.get() or BatchAxis()


def own_rows(array: jax.Array, axis: str, parts: int) -> jax.Array:
  """This device's [B / parts, ...] of the whole [B, ...]; `parts` must divide B."""
  rows = len(array) // parts
  return lax.dynamic_slice_in_dim(array, lax.axis_index(axis) * rows, rows)
