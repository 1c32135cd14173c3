"""What a study looks for, by the names of a run's summary."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.study import StudyDirection

from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import did_you_mean

# Objective -> the direction in which it is better.
DIRECTIONS: Mapping[str, StudyDirection] = {
  'val_accuracy': StudyDirection.MAXIMIZE,
  'val_loss': StudyDirection.MINIMIZE,
  'val_map': StudyDirection.MAXIMIZE,
  'seconds': StudyDirection.MINIMIZE,
  'parameters': StudyDirection.MINIMIZE,
  'macs': StudyDirection.MINIMIZE,
}
# Those that are measured after each epoch, by which a pruner can decide.
PER_EPOCH = ('val_accuracy', 'val_loss', 'val_map')


def parse(text: str) -> tuple[str, ...]:
  """The objectives of 'val_accuracy,seconds'.

  Raises:
    UserError: one is unknown or named twice.
  """
  names = tuple(name.strip() for name in text.split(','))
  for name in names:
    if name not in DIRECTIONS:
      raise UserError(f'--objectives={text}: there is no {name!r}{did_you_mean(name, DIRECTIONS)}')
  if len(set(names)) < len(names):
    raise UserError(f'--objectives={text} names one twice')
  return names


def directions(objectives: Sequence[str]) -> list[StudyDirection]:
  """In which direction each is better."""
  return [DIRECTIONS[name] for name in objectives]


def value_of(objective: str, measured: Mapping[str, Any]) -> float:
  """An objective of a run's summary or of a row of its history.

  Raises:
    UserError: the run does not measure it.
  """
  if objective not in measured:
    raise UserError(
      f'--objectives={objective} is measured on images that may have several labels, and those of '
      'this study have one each; use val_accuracy or val_loss'
    )
  return float(measured[objective])


def mean_values(
  objectives: Sequence[str], results: Sequence[Mapping[str, float]]
) -> tuple[float, ...]:
  """The mean of each objective over the seeds of a trial."""
  return tuple(math.fsum(row[name] for row in results) / len(results) for name in objectives)


def shown(name: str, value: float) -> str:
  """A value as people read it: '71.32 %', '0.8123', '34.2 s' or '42,442'."""
  if name in ('val_accuracy', 'val_map'):
    return f'{100 * value:.2f} %'
  if name == 'seconds':
    return f'{value:.1f} s'
  return f'{value:.4f}' if name == 'val_loss' else f'{value:,.0f}'
