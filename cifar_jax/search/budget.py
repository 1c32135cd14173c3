"""How much a study may spend, over all its trials, sessions and workers."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import optuna
from optuna.trial import TrialState

from cifar_jax.search.attributes import MADE_EPOCHS, PLANNED_EPOCHS, PULSE
from cifar_jax.utils.errors import UserError


class Spent(NamedTuple):
  """What the trials of a study have cost.

  Attributes:
    trials: Those that have ended, and those that have begun.
    epochs: Those made by trials that have ended, at least one each, and those planned by the
      others.
    minutes: Of work, summed over the workers.
  """

  trials: int
  epochs: int
  minutes: float


@dataclasses.dataclass(frozen=True)
class Budget:
  """Bounds of which the first that is reached ends the study; None: no bound."""

  trials: int | None = None
  epochs: int | None = None
  minutes: float | None = None

  def __post_init__(self) -> None:
    for name, value in self.bounds().items():
      if not value > 0:
        raise UserError(f'--{name}={value:g}: give a number above 0')

  def bounds(self) -> dict[str, float]:
    """The bounds that there are, by name."""
    found = {name: getattr(self, name) for name in Spent._fields}
    return {name: value for name, value in found.items() if value is not None}

  def allows_another(self, spent: Spent) -> bool:
    """Whether a trial may begin."""
    return all(getattr(spent, name) < bound for name, bound in self.bounds().items())

  def share(self, spent: Spent) -> float:
    """How much of it is spent, from 0 to 1."""
    shares = [getattr(spent, name) / bound for name, bound in self.bounds().items()]
    return min(1.0, max(shares, default=0.0))


def spent(trials: Iterable[optuna.trial.FrozenTrial], ended_only: bool = False) -> Spent:
  """What some trials have cost; without `ended_only`, also what those that run will.

  Args:
    trials: All of a study; those that wait cost nothing.
    ended_only: Whether to leave out what trials that have not ended are going to cost.
  """
  count, epochs, minutes = 0, 0, 0.0
  for trial in trials:
    if trial.state is TrialState.WAITING:
      continue
    attributes = trial.user_attrs
    minutes += seconds(attributes) / 60
    if trial.state.is_finished():
      count += 1
      # One that failed before its first epoch was a try too: a study of such trials has an end.
      epochs += max(attributes.get(MADE_EPOCHS, 0), 1)
    elif not ended_only:
      count += 1
      epochs += attributes.get(PLANNED_EPOCHS, 0)
  return Spent(count, epochs, minutes)


def seconds(attributes: Mapping[str, Any]) -> float:
  """The seconds of work on a trial so far, by the attributes of it."""
  pulse = attributes.get(PULSE)
  return float(pulse[1]) if pulse else 0.0
