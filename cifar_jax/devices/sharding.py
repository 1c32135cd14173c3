"""Devices: the mesh, where arrays live on it, and the jitted forms of the pure steps.

The default is one program over a 1-D mesh ('data',): parameters and the data set are on every
device, each device works on its part of the batch, and the compiler adds the sums over devices. One
device is a mesh of one. `jax.pmap` runs the same step, with the sums written out over a named axis.
"""

import functools
import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from cifar_jax.layers.batch_axis import DataParallel
from cifar_jax.ops.forms import on_one_device
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.paths import cache_folder

AXIS = 'data'  # the one axis of the mesh, over which the rows of a batch lie


def keep_compiled_programs() -> None:
  """Lets JAX keep compiled programs in the user's cache folder, unless a folder was chosen already.

  A program is compiled once for each network, batch size, device kind and set of XLA flags; the
  next start reads it, whatever its seed.
  """
  if jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
    return
  folder = cache_folder() / 'xla'
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError:
    return  # no room or no permission: compile each time
  # What cannot be stored is compiled each time, which is no reason to alarm anybody: a full disk,
  # or calls of oneDNN (see ops/onednn.py).
  warnings.filterwarnings('ignore', 'Error writing persistent compilation cache', UserWarning)
  jax.config.update('jax_compilation_cache_dir', str(folder))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)


def make_mesh(devices: int) -> Mesh:
  """A 1-D mesh over the first `devices` devices; 0 means all of them."""
  available = jax.device_count()
  if devices > available:
    raise UserError(
      f'--config.devices={devices}, but JAX sees {available} {jax.default_backend()} device(s); '
      'use 0 for all of them'
    )
  if devices and jax.process_count() > 1:
    raise UserError(
      f'--config.devices={devices} with {jax.process_count()} processes; use 0: all their devices'
    )
  count = devices or available
  return jax.make_mesh(
    (count,), (AXIS,), axis_types=(AxisType.Auto,), devices=jax.devices()[:count]
  )


def batch_multiple(config: ConfigDict, mesh: Mesh) -> int:
  """The number of which a batch must be a multiple, so that every device gets the same number of
  rows; the batch is filled to it where the config says so.

  Raises:
    UserError: the batch does not divide and is not to be filled, or ghost batches would lie across
      devices that cannot see each other's rows.
  """
  size, ghost = config.batch_size, config.batch_norm.ghost_rows
  if size % mesh.size and config.uneven_batch == 'error':
    nearest = max(mesh.size, round(size / mesh.size) * mesh.size)
    raise UserError(
      f'--config.batch_size={size} does not divide by {mesh.size} devices; '
      f"use {nearest}, fewer --config.devices, or --config.uneven_batch='pad'"
    )
  multiple = math.lcm(mesh.size, ghost or 1)
  rows = -(-size // multiple) * multiple // mesh.size
  if ghost and (size % ghost or (config.parallel == 'pmap' and rows % ghost)):
    raise UserError(
      f'--config.batch_norm.ghost_rows={ghost} does not divide the {rows} rows of each device '
      f'in a batch of {size}; use a divisor of both'
    )
  return multiple if config.uneven_batch == 'pad' else mesh.size


def replicated(mesh: Mesh) -> NamedSharding:
  """The sharding of what every device holds whole."""
  return NamedSharding(mesh, PartitionSpec())


def replicate(tree: Any, mesh: Mesh) -> Any:
  """Puts a tree of arrays, the same in every process, on every device of the mesh."""
  sharding = replicated(mesh)
  if jax.process_count() == 1:
    return jax.device_put(tree, sharding)

  def put(array: Any) -> jax.Array:
    whole = np.asarray(array, jnp.result_type(array))
    return jax.make_array_from_process_local_data(sharding, whole, whole.shape)

  return jax.tree.map(put, tree)


def own_part(rows: np.ndarray, mesh: Mesh) -> np.ndarray:
  """Of a whole batch [B, ...] the rows that this process's devices work on."""
  parts = _by_rows(mesh).addressable_devices_indices_map(rows.shape).values()
  starts = sorted((part[0].start or 0, part[0].stop) for part in parts if part is not None)
  return np.concatenate([rows[start:stop] for start, stop in starts])


def spread_own_parts(tree: Any, mesh: Mesh) -> Any:
  """Makes arrays [B, ...] over the mesh from the parts that each process has of them."""
  sharding = _by_rows(mesh)
  return jax.tree.map(
    lambda part: jax.make_array_from_process_local_data(sharding, np.asarray(part)), tree
  )


def _by_rows(mesh: Mesh) -> NamedSharding:
  return NamedSharding(mesh, PartitionSpec(AXIS))


def jit_data_parallel(mesh: Mesh) -> DataParallel:
  """For the step under `jax.jit`: lays batches out over the mesh, and leaves the rest to the
  compiler.
  """
  if mesh.size == 1:
    return DataParallel()
  sharding = _by_rows(mesh)

  def spread(batch: Any) -> Any:
    return jax.tree.map(lambda array: jax.lax.with_sharding_constraint(array, sharding), batch)

  return DataParallel(shard_batch=spread)


def pmap_data_parallel(mesh: Mesh) -> DataParallel:
  """For the step under `jax.pmap`: each device takes its rows and sums over the named axis."""
  return DataParallel(axis=AXIS, parts=mesh.size)


def jit_step(
  function: Callable[..., Any], mesh: Mesh, *, updates: bool = False
) -> Callable[..., Any]:
  """Compiles a step made with `mesh_division`; results are whole on every device.

  Args:
    function: of arrays that are whole on every device.
    mesh: the devices.
    updates: whether it is a training step, whose argument `state` gives its memory to the new one;
      an argument `masked` of it is static.
  """
  static = 'masked' if 'masked' in inspect.signature(function).parameters else ()
  return jax.jit(
    on_one_device(function) if mesh.size == 1 else function,
    donate_argnames='state' if updates else (),
    static_argnames=static,
    out_shardings=replicated(mesh),
  )


def pmap_step(
  function: Callable[..., Any], mesh: Mesh, *, updates: bool = False
) -> Callable[..., Any]:
  """Maps a step made with `mapped_division` over the devices; arguments as for `jit_step`.

  Nothing is stacked: arguments go to every device whole and come back whole, so that states and
  checkpoints are those of `jit_step`. Only the device's number is mapped, since `jax.pmap` wants
  something to be.
  """
  numbers = jax.device_put(np.arange(mesh.size, dtype=np.int32), _by_rows(mesh))

  donated = 1 + list(inspect.signature(function).parameters).index('state') if updates else ()

  @functools.cache
  def mapped(arguments: int, masked: bool | None) -> Callable[..., Any]:
    options = {} if masked is None else {'masked': masked}
    return jax.pmap(
      on_one_device(lambda number, *whole: function(*whole, **options)),
      axis_name=AXIS,
      in_axes=(0, *[None] * arguments),
      out_axes=None,
      devices=list(mesh.devices.flat),
      donate_argnums=donated,
    )

  def call(*arguments: Any, masked: bool | None = None) -> Any:
    return mapped(len(arguments), masked)(numbers, *arguments)

  return call


def jit_replicated(function: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
  """Compiles a function whose results every device holds whole."""
  return jax.jit(function, out_shardings=replicated(mesh))


def describe(mesh: Mesh) -> str:
  """'2 cpu devices (AMD EPYC ...)': for headers and summaries."""
  kinds = sorted({device.device_kind for device in np.ravel(mesh.devices)})
  platform = mesh.devices.flat[0].platform
  plural = '' if mesh.size == 1 else 's'
  processes = f' in {jax.process_count()} processes' if jax.process_count() > 1 else ''
  return f'{mesh.size} {platform} device{plural}{processes} ({", ".join(kinds)})'
