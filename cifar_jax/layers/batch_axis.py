"""How a batch is divided among devices, seen from inside the pure step and its layers.

Under `jax.jit` over a mesh the step is written for the whole batch and the compiler divides it;
under `jax.pmap` each device runs the step on its own rows, and what concerns the whole batch is
summed over a named axis. The same step serves both, and one device, through a `DataParallel`.

Layers that look across the rows of a batch (BatchNorm) or draw random numbers for them (Dropout)
ask `current_batch_axis()`, so that a network need not pass an axis name through its modules.
"""

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax import lax


@dataclasses.dataclass(frozen=True)
class BatchAxis:
  """The rows of a layer's inputs among those of the whole batch.

  Attributes:
    axis: The mapped axis over whose devices the rest of the batch is; None if all of it is here.
    parts: The number of devices along `axis`.
    ghost_batch_size: Rows over which BatchNorm takes its statistics; 0 for the whole batch.
  """

  axis: str | None = None
  parts: int = 1
  ghost_batch_size: int = 0


_CURRENT: contextvars.ContextVar[BatchAxis | None] = contextvars.ContextVar(
  'batch_axis', default=None
)


def current_batch_axis() -> BatchAxis:
  """What `batch_axis_context` said; outside of it, that all rows are here."""
  return _CURRENT.get() or BatchAxis()


@contextlib.contextmanager
def batch_axis_context(batch_axis: BatchAxis) -> Iterator[None]:
  """While a network is applied: tells its layers which rows they are given."""
  token = _CURRENT.set(batch_axis)
  try:
    yield
  finally:
    _CURRENT.reset(token)


@dataclasses.dataclass(frozen=True)
class DataParallel:
  """The step is written for the whole batch; whatever divides it is the compiler's business.

  That is so on one device and under `jax.jit` over a mesh. Under `jax.pmap` each device runs the
  step on rows of its own: `devices.pmap` overrides all methods.

  Attributes:
    shard_batch: Lays the rows of a tree of whole arrays [B, ...] out over the devices.
  """

  shard_batch: Callable[[Any], Any] = lambda tree: tree

  def local_shard(self, tree: Any) -> Any:
    """The rows of whole arrays [B, ...] that this run of the step works on."""
    return tree

  def psum(self, tree: Any) -> Any:
    """The sum over all runs of the step; of a Python number too, so psum(1) is how many run."""
    return tree

  def pmean(self, tree: Any) -> Any:
    """The mean over all runs of what each may hold a little differently; integers stay."""
    return tree

  def all_rows(self, tree: Any) -> Any:
    """The rows of the whole batch, of arrays with a row per example of `local_shard`."""
    return tree

  def batch_axis(self, ghost_batch_size: int) -> BatchAxis:
    """What layers must know about their rows; `ghost_batch_size` as in `BatchAxis`."""
    return BatchAxis(ghost_batch_size=ghost_batch_size)


def own_rows(array: jax.Array, axis: str, parts: int) -> jax.Array:
  """This device's [B / parts, ...] of the whole [B, ...]; `parts` must divide B."""
  rows = len(array) // parts
  return lax.dynamic_slice_in_dim(array, lax.axis_index(axis) * rows, rows)
