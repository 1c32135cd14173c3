"""The steps under `jax.pmap`: all that is only for it.

Each device runs the step on its own rows, and what concerns the whole batch is summed over a named
axis. The default, `jax.jit` over a mesh, is in `sharding`; the pure step is the same, and so are
states and checkpoints.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from cifar_jax.devices.sharding import AXIS, batch_sharding, platform
from cifar_jax.layers.batch_axis import BatchAxis, DataParallel, own_rows
from cifar_jax.ops.dispatch import for_platform, on_one_device
from cifar_jax.utils.errors import UserError


def check_config(config: ConfigDict) -> None:
  """Raises UserError where a config asks for what mapped steps cannot do."""
  if config.data.placement == 'host' or jax.process_count() > 1:
    raise UserError(
      '--config.parallel=pmap needs one process and --config.data.placement=device; use jit'
    )


@dataclasses.dataclass(frozen=True)
class PmapDataParallel(DataParallel):
  """Each device takes its rows and sums over the mapped axis."""

  parts: int = 1  # as many as devices

  def local_shard(self, tree: Any) -> Any:
    """This device's [B / parts, ...] of whole arrays [B, ...]."""
    return jax.tree.map(lambda array: own_rows(array, AXIS, self.parts), tree)

  def psum(self, tree: Any) -> Any:
    """The sum over the devices."""
    return lax.psum(tree, AXIS)

  def pmean(self, tree: Any) -> Any:
    """The mean over the devices; integers stay."""

    def mean(array: jax.Array) -> jax.Array:
      return lax.pmean(array, AXIS) if jnp.issubdtype(array.dtype, jnp.inexact) else array

    return jax.tree.map(mean, tree)

  def all_rows(self, tree: Any) -> Any:
    """[B, ...], of each device's [B / parts, ...]."""
    return lax.all_gather(tree, AXIS, tiled=True)

  def batch_axis(self, ghost_batch_size: int) -> BatchAxis:
    """The rest of the batch is on the other devices."""
    return BatchAxis(AXIS, self.parts, ghost_batch_size)


def data_parallel(mesh: Mesh) -> DataParallel:
  """Returns the `DataParallel` of steps that `compile_step` maps."""
  return PmapDataParallel(parts=mesh.size)


def compile_step(
  function: Callable[..., Any], mesh: Mesh, *, updates: bool = False
) -> Callable[..., Any]:
  """Maps a step made with `data_parallel` over the devices; arguments as for `sharding`'s.

  Nothing is stacked: arguments go to every device whole and come back whole. Only the device's
  number is mapped, since `jax.pmap` wants something to be.
  """
  donated = 1 + list(inspect.signature(function).parameters).index('state') if updates else ()

  @functools.cache
  def numbers() -> jax.Array:
    return jax.device_put(np.arange(mesh.size, dtype=np.int32), batch_sharding(mesh))

  @functools.cache
  def mapped(arguments: int, masked: bool | None) -> Any:
    options = {} if masked is None else {'masked': masked}
    step = on_one_device(lambda number, *whole: function(*whole, **options))
    return jax.pmap(
      for_platform(step, platform(mesh)),
      axis_name=AXIS,
      in_axes=(0, *[None] * arguments),
      out_axes=None,
      devices=list(mesh.devices.flat),
      donate_argnums=donated,
    )

  def call(*arguments: Any, masked: bool | None = None) -> Any:
    return mapped(len(arguments), masked)(numbers(), *arguments)

  def lower(*arguments: Any, masked: bool | None = None) -> Any:
    number = jax.ShapeDtypeStruct((mesh.size,), np.int32)
    return mapped(len(arguments), masked).lower(number, *arguments)

  call.lower = lower  # type: ignore[attr-defined]  # as `jax.jit` has it
  return call
