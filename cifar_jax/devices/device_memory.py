"""Whether the images fit on the devices, asked before they are put there."""

from jax.sharding import Mesh

from cifar_jax.startup import host_memory
from cifar_jax.utils.errors import UserError

SHARE = 0.75  # of a device's memory that images may take; the rest is for the network


def bytes_of_a_device(mesh: Mesh) -> int | None:
  """The memory of one device of this process, None where nobody says; CPU devices share the
  host's.
  """
  device = mesh.local_devices[0]
  if device.platform == 'cpu':
    available = host_memory.available()
    return None if available is None else available // len(mesh.local_devices)
  return (device.memory_stats() or {}).get('bytes_limit')


def check_fits(needed: int, mesh: Mesh) -> None:
  """Raises UserError if images of `needed` bytes would leave the network too little memory on a
  device.
  """
  there = bytes_of_a_device(mesh)
  if there is not None and needed > SHARE * there:
    raise UserError(
      f'the images take {gib(needed)} on each device, which has {gib(there)}; '
      '--config.data.placement=host keeps them with the host, or use fewer or smaller images'
    )


def gib(count: float) -> str:
  """'0.18 GiB'."""
  return f'{count / 2**30:,.2f} GiB'
