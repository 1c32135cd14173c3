"""What several processes must do alike: who writes, what is decided, when to stop."""

from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from cifar_jax.devices import sharding

Number = TypeVar('Number', bool, float)


class Stop:
  """Whether somebody asked this process to stop.

  Attributes:
    asked: Whether the run is to stop after the current step.
    saved: Whether the run has stopped, and is saved.
  """

  asked = False
  saved = False


def is_main_process() -> bool:
  """Whether this process is the one that writes and prints."""
  return jax.process_index() == 0


def broadcast_from_main(number: Number) -> Number:
  """The first process's number, or truth value, on every process; all must ask."""
  if jax.process_count() == 1:
    return number
  return multihost_utils.broadcast_one_to_all(np.asarray(number)).item()


class SharedStop:
  """A request to stop that reaches all processes after the same step.

  One process alone stops as soon as it is asked. Several put a vote beside every dispatch, and a
  yes from any of them counts once the result of that dispatch is read, which all do at the same
  point of the program; nobody waits for a vote.
  """

  def __init__(self, stop: Stop, mesh: Mesh):
    self._stop = stop
    self._mesh = mesh
    self._several = jax.process_count() > 1
    self._agreed = False
    self._total = sharding.jit_replicated(lambda votes: votes.sum(), mesh)

  @property
  def asked(self) -> bool:
    """Whether to stop now."""
    return self._agreed if self._several else self._stop.asked

  def saved(self) -> None:
    """Notes that the run has stopped and is saved, so that nobody need wait any longer."""
    self._stop.saved = True

  def vote(self) -> Any:
    """This process's vote, to be counted later; an array on the devices if there are several."""
    if not self._several:
      return 0
    own = np.full(len(self._mesh.local_devices), self._stop.asked, np.int32)
    return self._total(sharding.global_rows(own, self._mesh))

  def count(self, votes: Any) -> None:
    """Takes the outcome of a vote into account."""
    self._agreed = self._agreed or int(jax.device_get(votes)) > 0
