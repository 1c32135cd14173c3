"""The copy of a state on the host that a thread writes while the devices go on."""

import jax
import numpy as np

from cifar_jax.training.steps import TrainState


class _HostArray(np.ndarray):
  """An array that nobody changes, so that itself does for a copy.

  Orbax makes deep copies of NumPy's arrays before it writes them.
  """

  def __deepcopy__(self, _: object) -> '_HostArray':
    return self


def on_host(state: TrainState) -> TrainState:
  """A copy of a state in the host's memory, once all updates that it waits for are made.

  It stays as it is when later updates reuse the memory of the state on the devices.
  """
  leaves = jax.tree.leaves(state)
  for leaf in leaves:
    leaf.copy_to_host_async()  # all at once, where the devices have memory of their own
  on_cpu = any(device.platform == 'cpu' for device in leaves[0].devices())
  # There an array of NumPy's may be the device's own memory.
  return jax.tree.map(np.array if on_cpu else np.asarray, state)


def uncopied(state: TrainState) -> TrainState:
  """The same arrays of the host, in a form of which Orbax makes no second copy to write it."""
  return jax.tree.map(lambda leaf: np.asarray(leaf).view(_HostArray), state)
