"""Devices: the mesh, its memory, where arrays live on it, and the jitted forms of the pure steps.

The default is one program over a 1-D mesh ('data',): parameters and the data set are on every
device, each device works on its part of the batch, and the compiler adds the sums over devices. One
device is a mesh of one. `pmap` runs the same step, with the sums written out over a named axis.
"""

import contextlib
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from cifar_jax.layers.batch_axis import DataParallel
from cifar_jax.ops.dispatch import for_platform, on_one_device
from cifar_jax.startup import host_memory
from cifar_jax.utils.array_types import PerRow
from cifar_jax.utils.errors import UserError

AXIS = 'data'  # the one axis of the mesh, over which the rows of a batch lie
_IMAGES_SHARE = 0.75  # of a device's memory that images may take; the rest is for the network


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
  return mesh_over(jax.devices()[: devices or available])


def mesh_over(devices: Sequence[jax.Device]) -> Mesh:
  """A 1-D mesh over devices, which need not be here."""
  return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def platform(mesh: Mesh) -> str:
  """'cpu', 'gpu' or 'tpu': what programs over the mesh are compiled for."""
  kind: str = mesh.devices.flat[0].platform
  return kind


def batch_multiple(config: ConfigDict, mesh: Mesh) -> int:
  """The number of which a batch must be a multiple, so that every device gets the same number of
  rows; the batch is filled to it where the config says so.

  Raises:
    UserError: the batch does not divide and is not to be filled, or ghost batches would lie across
      devices that cannot see each other's rows.
  """
  size, ghost = config.batch_size, config.batch_norm.ghost_batch_size
  if size % mesh.size and not config.pad_to_devices:
    nearest = max(mesh.size, round(size / mesh.size) * mesh.size)
    raise UserError(
      f'--config.batch_size={size} does not divide by {mesh.size} devices; '
      f'use {nearest}, fewer --config.devices, or --config.pad_to_devices=True'
    )
  multiple = math.lcm(mesh.size, ghost or 1)
  rows = -(-size // multiple) * multiple // mesh.size
  if ghost and (size % ghost or (config.parallel == 'pmap' and rows % ghost)):
    raise UserError(
      f'--config.batch_norm.ghost_batch_size={ghost} does not divide the {rows} rows of each '
      f'device in a batch of {size}; use a divisor of both'
    )
  return multiple if config.pad_to_devices else mesh.size


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


def as_stored(images: np.ndarray, mesh: Mesh) -> np.ndarray:
  """The images of a data set [N, H, W, C] in the shape in which a device keeps them.

  On TPU each is a row of pixels, [N, H W C]: memory there is made of tiles, which hold rows without
  padding, while images of few channels would be copied into another layout at each dispatch.
  """
  rows = platform(mesh) == 'tpu' and images.dtype == np.uint8
  return images.reshape(len(images), -1) if rows else images


def process_rows(rows: PerRow, mesh: Mesh) -> np.ndarray:
  """The rows of a whole batch that this process's devices work on."""
  parts = batch_sharding(mesh).addressable_devices_indices_map(rows.shape).values()
  starts = sorted((part[0].start or 0, part[0].stop) for part in parts if part is not None)
  return np.concatenate([rows[start:stop] for start, stop in starts])


def global_rows(tree: Any, mesh: Mesh) -> Any:
  """Makes arrays [B, ...] over the mesh from the rows that each process has of them."""
  sharding = batch_sharding(mesh)
  return jax.tree.map(
    lambda part: jax.make_array_from_process_local_data(sharding, np.asarray(part)), tree
  )


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """The sharding of what has a row per example: each device holds its part of the rows."""
  return NamedSharding(mesh, PartitionSpec(AXIS))


def data_parallel(mesh: Mesh) -> DataParallel:
  """Returns what lays out the batches of a step under `jax.jit` over the mesh, and leaves the rest
  to the compiler.
  """
  if mesh.size == 1:
    return DataParallel()
  sharding = batch_sharding(mesh)

  def spread(batch: Any) -> Any:
    return jax.tree.map(lambda array: jax.lax.with_sharding_constraint(array, sharding), batch)

  return DataParallel(shard_batch=spread)


def compile_step(
  function: Callable[..., Any], mesh: Mesh, *, updates: bool = False
) -> Callable[..., Any]:
  """Compiles a step made with `data_parallel`; results are whole on every device.

  Args:
    updates: Whether it is a training step, whose argument `state` gives its memory to the new one;
      an argument `masked` of it is static.
  """
  static = 'masked' if 'masked' in inspect.signature(function).parameters else ()
  function = for_platform(function, platform(mesh))
  return jax.jit(
    on_one_device(function) if mesh.size == 1 else function,
    donate_argnames='state' if updates else (),
    static_argnames=static,
    out_shardings=replicated(mesh),
  )


class TransferGuard:
  """Forbids transfers that nobody asked for, but where a program is compiled: that reads constants
  back from the device.
  """

  def __init__(self) -> None:
    self._compiled: set[Any] = set()

  def around(self, program: Any) -> contextlib.AbstractContextManager[None]:
    """Guards one dispatch of `program`, which names what is compiled once."""
    if program in self._compiled:
      return jax.transfer_guard('disallow')
    self._compiled.add(program)
    return contextlib.nullcontext()


def jit_replicated(function: Callable[..., Any], mesh: Mesh) -> Callable[..., Any]:
  """Compiles a function whose results every device holds whole."""
  return jax.jit(function, out_shardings=replicated(mesh))


def host_of(mesh: Mesh) -> jax.Device | None:
  """The CPU as a device of JAX, for what accelerators are slow to compile for; None where the mesh
  is of CPUs or of several processes, or JAX_PLATFORMS leaves the CPU out.
  """
  if platform(mesh) == 'cpu' or jax.process_count() > 1:
    return None
  try:
    return jax.local_devices(backend='cpu')[0]
  except RuntimeError:
    return None


def describe(mesh: Mesh) -> str:
  """'2 cpu devices (AMD EPYC ...)': for headers and summaries."""
  kinds = sorted({device.device_kind for device in np.ravel(mesh.devices)})
  plural = '' if mesh.size == 1 else 's'
  processes = f' in {jax.process_count()} processes' if jax.process_count() > 1 else ''
  return f'{mesh.size} {platform(mesh)} device{plural}{processes} ({", ".join(kinds)})'


def bytes_of_a_device(mesh: Mesh) -> int | None:
  """The memory of one device of this process, None where nobody says; CPU devices share the
  host's.
  """
  device = mesh.local_devices[0]
  if device.platform == 'cpu':
    available = host_memory.available()
    return None if available is None else available // len(mesh.local_devices)
  try:
    return (device.memory_stats() or {}).get('bytes_limit')
  except jax.errors.JaxRuntimeError:  # it is not here, and only compiled for
    return None


def check_images_fit(needed: int, mesh: Mesh) -> None:
  """Raises UserError if images of `needed` bytes would leave the network too little memory on a
  device.
  """
  there = bytes_of_a_device(mesh)
  if there is not None and needed > _IMAGES_SHARE * there:
    raise UserError(
      f'the images take {gib(needed)} on each device, which has {gib(there)}; '
      '--config.data.placement=host keeps them with the host, or use fewer or smaller images'
    )


def gib(count: float) -> str:
  """'0.18 GiB'."""
  return f'{count / 2**30:,.2f} GiB'
