"""Where the time of a run goes, over all its sessions, and how fast it trains."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_CARRIED = ('seconds', 'epoch_seconds', 'training_seconds', 'waiting_seconds')


class RunTimer:
  """Adds up what the loop measures; each session has its own and begins with what the last saved.

  Training time is that of handing updates to the devices and of reading what they made of them,
  without compilation, evaluation and saving.

  Attributes:
    compile_seconds: Seconds of updates that were compiled first, in this session.
  """

  def __init__(self, facts: Mapping[str, Any], now: Callable[[], float] = time.perf_counter):
    """Starts now.

    Args:
      facts: The facts of the checkpoint that the session begins with, see `facts`; what is missing,
        as for a new run, is 0.
      now: A clock in seconds since any moment.
    """
    before = {name: float(facts.get(name, 0.0)) for name in _CARRIED}
    self._now = now
    self._start = now()
    self._run_start = self._start - before['seconds']
    self._epoch_start = self._start - before['epoch_seconds']
    self._training_seconds = before['training_seconds']
    self._waiting_seconds = before['waiting_seconds']
    self._epoch_training_seconds = 0.0  # in this session, as are the images
    self._epoch_images = 0
    self.compile_seconds = 0.0

  def compiled(self, seconds: float) -> None:
    """Counts a dispatch that was compiled first and waited for."""
    self.compile_seconds += seconds

  def trained(self, seconds: float, images: int = 0, input_wait_seconds: float = 0.0) -> None:
    """Counts training time.

    Args:
      images: The number of images whose updates were dispatched in that time.
      input_wait_seconds: The part of these seconds in which the devices waited for a batch.
    """
    self._training_seconds += seconds
    self._waiting_seconds += input_wait_seconds
    self._epoch_training_seconds += seconds
    self._epoch_images += images

  def end_epoch(self) -> dict[str, float]:
    """Begins the next epoch; returns the columns of metrics.csv that are about time."""
    now = self._now()
    measured = self._epoch_images > 0  # not if all its updates were compiled first
    columns = {
      'images_per_second': (
        self._epoch_images / max(self._epoch_training_seconds, 1e-9) if measured else math.nan
      ),
      'epoch_seconds': now - self._epoch_start,
    }
    self._epoch_start, self._epoch_training_seconds, self._epoch_images = now, 0.0, 0
    return columns

  @property
  def seconds(self) -> float:
    """Seconds of work in all sessions, time between them not counted."""
    return self._now() - self._run_start

  @property
  def input_bound_fraction(self) -> float:
    """Share of the run's training time in which the devices waited for a batch, 0..1."""
    return self._waiting_seconds / max(self._training_seconds, 1e-9)

  def left(self, done: int, rest: int) -> float | None:
    """Seconds that `rest` more updates take at the pace of the `done` ones of this session; None
    before there is one.
    """
    if done <= 0:
      return None
    return (self._now() - self._start - self.compile_seconds) / done * rest

  def facts(self) -> dict[str, float]:
    """What a checkpoint keeps, for the next session."""
    now = self._now()
    values = (
      *(now - self._run_start, now - self._epoch_start),
      *(self._training_seconds, self._waiting_seconds),
    )
    return dict(zip(_CARRIED, values, strict=True))


def images_per_second(rows: Sequence[Mapping[str, float]]) -> float | None:
  """The median speed over those rows of metrics.csv in which it was measured; None without any."""
  measured = [row['images_per_second'] for row in rows if row['images_per_second'] > 0]
  return statistics.median(measured) if measured else None
