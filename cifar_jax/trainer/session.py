"""The loop over updates.

The host only dispatches: it never waits for a step except to bound how far it runs ahead, and it
reads averages of steps that are already finished. Stopping is possible after every dispatch.
"""

import collections
import dataclasses
import math
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

from cifar_jax.data import Splits
from cifar_jax.devices import multihost
from cifar_jax.run_dir.background import Background
from cifar_jax.run_dir.metric_writers import NoWriter, RunWriter
from cifar_jax.run_dir.progress import Progress
from cifar_jax.run_dir.timer import RunTimer
from cifar_jax.trainer.build import Trainer
from cifar_jax.trainer.input_pipeline import InputPipeline
from cifar_jax.trainer.programs import CompiledAhead
from cifar_jax.training.steps import StepMetrics, TrainState, lr_scale

# Dispatches under way before the host waits: enough to hide it, few enough to stop soon.
DISPATCHES_AHEAD = 4


@dataclasses.dataclass(eq=False, kw_only=True)
class RunSession:
  """One process's part of a run, from its start or last checkpoint to its end or an interruption,
  as callbacks see it.

  Attributes:
    folder: Of the run.
    evaluate: State -> the metrics on the validation split.
    timer: Where the time goes; goes on from where the last session ended.
    rows: The history, one row per epoch; those of earlier sessions come first.
    writer: The log of metrics and images.
    background: What writes beside the training; what fails there ends the session.
    callbacks: What else happens, in this order.
    first_step: The number of updates made when the session began.
    validation: Metrics of the last state on the validation split; {} if not measured.
    stopped_early: Whether the epochs so far are the whole run; set by a callback.
  """

  folder: pathlib.Path
  trainer: Trainer
  splits: Splits
  evaluate: Callable[[TrainState], dict[str, Any]]
  timer: RunTimer
  rows: list[dict[str, float]]
  progress: Progress
  writer: RunWriter | NoWriter
  background: Background
  callbacks: 'Sequence[Callback]'
  first_step: int = 0
  validation: dict[str, Any] = dataclasses.field(default_factory=dict)
  stopped_early: bool = False

  def seconds_left(self, step: int) -> float | None:
    """Seconds to the end of the run, and of those to come after it, at this session's pace; None
    before there is one.
    """
    total = self.trainer.total_steps
    rest = total - step + self.progress.runs_to_come * total
    return self.timer.left(step - self.first_step, rest)

  def drain(self) -> None:
    """Waits until all updates are made and looked at."""

  def start(self, step: int) -> None:
    """Begins, with `step` updates made."""
    self.first_step = step
    for callback in self.callbacks:
      callback.start(self, step)

  def end(self, state: TrainState, step: int, interrupted: bool) -> None:
    """Ends, with `step` updates made; `interrupted`: the run is to go on."""
    for callback in self.callbacks:
      callback.end(self, state, step, interrupted)

  def end_epoch(self, state: TrainState, step: int) -> TrainState:
    """Validates, adds the epoch's row to the history, and lets the callbacks act on it."""
    self.drain()
    trainer = self.trainer
    training = {n: float(v) for n, v in jax.device_get(state.metrics).compute().items()}
    self.validation = self.evaluate(state) if trainer.is_validated(step) else {}
    self.rows.append(
      {
        'step': step,
        'epoch': trainer.epoch_of(step),
        'train_loss': training['loss'],
        'train_accuracy': training['accuracy'],
        'val_loss': self.validation.get('loss', math.nan),
        'val_accuracy': self.validation.get('accuracy', math.nan),
        **{
          f'val_{name}': self.validation.get(name, math.nan)
          for name in trainer.recipe.task.measured
        },
        'learning_rate': float(trainer.schedule(step - 1) * lr_scale(state)),
        **self.timer.end_epoch(),
      }
    )
    for callback in self.callbacks:
      state = callback.end_epoch(self, state)
    return state


@dataclasses.dataclass(eq=False, kw_only=True)
class Session(RunSession):
  """The session of a run that trains by itself.

  Attributes:
    pipeline: How the training examples reach the devices.
    ahead: What compiles the programs.
  """

  pipeline: InputPipeline
  stop: multihost.SharedStop
  ahead: CompiledAhead

  def __post_init__(self) -> None:
    self._compiled: set[tuple[int, bool]] = set()
    self._under_way: collections.deque[tuple[int, StepMetrics, Any]] = collections.deque()

  def run(self, state: TrainState, step: int) -> TrainState:
    """Trains from `step` to the end of the run, or until a stop was asked for and all is saved."""
    trainer, total = self.trainer, self.trainer.total_steps
    self.start(step)
    while step < total and not self.stop.asked and not self.stopped_early:
      count = trainer.dispatch_length(step, self.pipeline.supports_scan)
      for callback in self.callbacks:
        callback.before_updates(self, step)
      state = self._dispatch(state, step, count)
      step += count
      for callback in self.callbacks:
        callback.after_updates(self, state, step, count)
      self.background.check()
      if trainer.ends_epoch(step):
        state = self.end_epoch(state, step)
    interrupted = step < total and not self.stopped_early
    self.end(state, step, interrupted)
    if interrupted:
      self.stop.saved()
      self.progress.close()
      self.progress.note(
        f'stopped after step {step} of {total} and saved; the same command goes on from there'
      )
    return state

  def drain(self) -> None:
    """Waits until all updates are made and looked at."""
    start = time.perf_counter()
    while self._under_way:
      self._look_at(*self._under_way.popleft())
    self.timer.trained(time.perf_counter() - start)

  def _dispatch(self, state: TrainState, step: int, count: int) -> TrainState:
    masked = self.trainer.is_masked(step, count)
    start, waited = time.perf_counter(), self.pipeline.input_wait_seconds
    self.ahead.wait((count, masked))
    with jax.profiler.StepTraceAnnotation('train', step_num=step):
      state, metrics = self.pipeline.update(state, step, count, masked)
    votes = self.stop.vote()
    if (count, masked) not in self._compiled:
      jax.block_until_ready(metrics)
      self._compiled.add((count, masked))
      self.timer.compiled(time.perf_counter() - start)
      self._look_at(step, metrics, votes)
      return state
    self._under_way.append((step, metrics, votes))
    if len(self._under_way) > DISPATCHES_AHEAD:
      self._look_at(*self._under_way.popleft())
    self.timer.trained(
      time.perf_counter() - start,
      count * self.trainer.config.batch_size,
      self.pipeline.input_wait_seconds - waited,
    )
    return state

  def _look_at(self, step: int, metrics: StepMetrics, votes: Any) -> None:
    """Reads the metrics of a finished dispatch: stops if something is not finite."""
    self.stop.count(votes)
    loss, accuracy, bad_step = jax.device_get((metrics.loss, metrics.accuracy, metrics.bad_step))
    if bad_step >= 0:
      self.progress.close()
      raise NotFiniteError(int(bad_step))
    self.progress.show(float(loss), float(accuracy), self.seconds_left(step))


class Callback:
  """Does nothing; subclasses do one thing at one or more moments of a session."""

  def start(self, session: RunSession, step: int) -> None:
    """Before the first update of a session, with `step` updates made."""

  def before_updates(self, session: RunSession, step: int) -> None:
    """Before a dispatch, with `step` updates made."""

  def after_updates(self, session: RunSession, state: TrainState, step: int, count: int) -> None:
    """After a dispatch of `count` updates, with `step` made; the devices may still compute them."""

  def end_epoch(self, session: RunSession, state: TrainState) -> TrainState:
    """After an epoch, whose row is the last of `session.rows`; returns the state to go on with."""
    return state

  def end(self, session: RunSession, state: TrainState, step: int, interrupted: bool) -> None:
    """After the last update of a session, with `step` made; `interrupted`: the run is to go on."""


class NotFiniteError(Exception):
  """The loss or the parameters became NaN or infinite.

  Attributes:
    step: The update in which they did, counted from 0.
  """

  def __init__(self, step: int):
    super().__init__(f'not finite in update {step}')
    self.step = step
