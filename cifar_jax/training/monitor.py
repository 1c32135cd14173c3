"""What follows from the history of a run at the end of an epoch: stop early, or lower the rate.

Both rules are Keras's, and pure functions of the rows of all epochs so far, which each checkpoint
keeps: a resumed run takes the same decisions as one that was never interrupted, and no state need
be kept.

Keras 2.0 counted otherwise than later releases: an epoch without improvement was compared with the
patience first and counted afterwards, so that patience 2 waited for three such epochs.
`patience_semantics` 'keras2.0' does so too.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

from ml_collections import ConfigDict

PATIENCE_SEMANTICS = ('keras', 'keras2.0')
MONITORS = ('val_loss', 'val_accuracy', 'val_map', 'train_loss', 'train_accuracy')


def stops_early(config: ConfigDict, rows: Sequence[Mapping[str, float]]) -> bool:
  """Whether the run ends after the last of its epochs.

  An epoch improves if its value is better than the best one before by more than `min_delta`.

  Args:
    config: `patience` (0: never), `monitor`, `min_delta`, `patience_semantics`.
    rows: The rows of the epochs so far; those without a validation are passed over.
  """
  if not config.patience:
    return False
  best, wait = math.inf, 0
  for value in _lower_is_better(config.monitor, rows):
    if value < best - config.min_delta:
      best, wait = value, 0
      continue
    if config.patience_semantics == 'keras2.0' and wait >= config.patience:
      return True
    wait += 1
    if config.patience_semantics == 'keras' and wait >= config.patience:
      return True
  return False


def lr_scale(
  config: ConfigDict, rows: Sequence[Mapping[str, float]], learning_rate: float
) -> float:
  """What the learning rate is multiplied by after the last of the epochs: ReduceLROnPlateau.

  Args:
    config: `patience` (0: never), `monitor`, `factor`, `min_delta`, `cooldown` (epochs after a
      reduction in which none is counted), `min_learning_rate`, `patience_semantics`.
    rows: The rows of the epochs so far; those without a validation are passed over.
    learning_rate: The base rate, by which the lowest one is judged.

  Returns:
    At most 1.
  """
  best, wait, cooldown, rate = math.inf, 0, 0, learning_rate
  values = _lower_is_better(config.monitor, rows) if config.patience else ()
  for value in values:
    if cooldown > 0:
      cooldown -= 1
      wait = 0
    if value < best - config.min_delta:
      best, wait = value, 0
    elif cooldown <= 0:
      if config.patience_semantics == 'keras':
        wait += 1
      if wait >= config.patience and rate > config.min_learning_rate:
        rate = max(rate * config.factor, config.min_learning_rate)
        cooldown, wait = config.cooldown, 0
      if config.patience_semantics == 'keras2.0':
        wait += 1
  return rate / learning_rate


def is_best(row: Mapping[str, float], earlier: Iterable[Mapping[str, float]], monitor: str) -> bool:
  """Whether an epoch is better than every one before; an epoch without a validation never is."""
  if math.isnan(row[monitor]):
    return False
  *others, value = _lower_is_better(monitor, [*earlier, row])
  return value < min(others, default=math.inf)


def _lower_is_better(monitor: str, rows: Sequence[Mapping[str, float]]) -> Iterable[float]:
  sign = 1 if monitor.endswith('loss') else -1
  return (sign * row[monitor] for row in rows if not math.isnan(row[monitor]))
