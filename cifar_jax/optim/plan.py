"""How long a run is, in updates: made once, and asked by schedules, averages and groups."""

import math
from typing import NamedTuple

# 0.29 * 100 is 28.999999999999996: a duration this near to a whole update is that update.
_ROUNDING = 1e-6


class Plan(NamedTuple):
  """The updates of a run.

  Attributes:
    total_steps: Updates in the whole run.
    steps_per_epoch: Updates in an epoch, at least 1.
  """

  total_steps: int
  steps_per_epoch: int

  @property
  def epochs(self) -> float:
    """The length of the run in epochs."""
    return self.total_steps / self.steps_per_epoch

  def over(self, epochs: float) -> 'Plan':
    """The plan of so many epochs, a begun update counted: 9.9 epochs of 48 are 476."""
    return Plan(math.ceil(self.steps_per_epoch * epochs - _ROUNDING), self.steps_per_epoch)

  def steps(self, epochs: float) -> int:
    """The whole updates in a duration."""
    return math.floor(self.steps_per_epoch * epochs + _ROUNDING)

  def nearest_step(self, epoch: float) -> int:
    """The number of updates nearest to a moment given as an epoch, of two the even one."""
    return round(epoch * self.steps_per_epoch)
