"""Devices: the mesh, where arrays live on it, and the jitted forms of the pure steps.

The default is one program over a 1-D mesh ('data',): parameters and the data set are on every
device, each device works on its part of the batch, and the compiler adds the sums over devices. One
device is a mesh of one.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from cifar_jax.errors import UserError
from cifar_jax.folders import cache_folder


def keep_compiled_programs() -> None:
  """Lets JAX keep compiled programs in the user's cache folder, unless a folder was chosen already.

  A program is compiled once for each network, batch size, device kind and set of XLA flags; the
  next start reads it.
  """
  if jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
    return
  folder = cache_folder() / 'xla'
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError:
    return  # no room or no permission: compile each time
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
  count = devices or available
  return jax.make_mesh(
    (count,), ('data',), axis_types=(AxisType.Auto,), devices=jax.devices()[:count]
  )


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
  """Raises UserError unless every device gets the same number of rows."""
  if batch_size % mesh.size:
    nearest = max(mesh.size, round(batch_size / mesh.size) * mesh.size)
    raise UserError(
      f'--config.batch_size={batch_size} does not divide by {mesh.size} devices; '
      f'use {nearest}, or fewer --config.devices'
    )


def replicated(mesh: Mesh) -> NamedSharding:
  """The sharding of what every device holds whole."""
  return NamedSharding(mesh, PartitionSpec())


def replicate(tree: Any, mesh: Mesh) -> Any:
  """Puts a tree of arrays on every device of the mesh."""
  return jax.device_put(tree, replicated(mesh))


def shard_batch(mesh: Mesh) -> Callable[[Any], Any]:
  """Returns a function for use inside a jitted step: spreads the leading axis of every array over
  the mesh.
  """
  sharding = NamedSharding(mesh, PartitionSpec('data'))

  def shard(batch: Any) -> Any:
    return jax.tree.map(lambda array: jax.lax.with_sharding_constraint(array, sharding), batch)

  return shard


def jit_train_steps(function: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
  """Compiles `(state, images, labels, order, masked) -> (state, report)`; the state's memory is
  reused.
  """
  return jax.jit(
    function, donate_argnums=0, static_argnames='masked', out_shardings=replicated(mesh)
  )


def jit_eval_step(function: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
  """Compiles `(params, batch_stats, images, labels, start, metrics) -> (metrics, start)`."""
  return jax.jit(function, out_shardings=replicated(mesh))


def jit_replicated(function: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
  """Compiles a function whose results every device holds whole."""
  return jax.jit(function, out_shardings=replicated(mesh))


def describe(mesh: Mesh) -> str:
  """'2 cpu devices (AMD EPYC ...)': for headers and summaries."""
  kinds = sorted({device.device_kind for device in np.ravel(mesh.devices)})
  platform = mesh.devices.flat[0].platform
  plural = '' if mesh.size == 1 else 's'
  return f'{mesh.size} {platform} device{plural} ({", ".join(kinds)})'
