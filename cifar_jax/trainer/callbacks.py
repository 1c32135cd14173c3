"""What happens around the updates of a session, one thing per class.

The order in which `train` lists them counts: decisions follow from the row of an epoch and
are taken before the state is copied for the checkpoint that has to hold them. What is written is
handed over to `RunSession.background` and written while the next epoch trains: the row, then the
best checkpoint, then the latest, each only if those before it are on disk.
"""

import dataclasses
import pathlib
import threading
import types
from collections.abc import Callable, Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from cifar_jax import optim
from cifar_jax.devices import multihost
from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.run_dir.host_copy import on_host
from cifar_jax.trainer.session import Callback, RunSession
from cifar_jax.training import monitor
from cifar_jax.training.multi_label import THRESHOLDS
from cifar_jax.training.steps import TrainState, with_lr_scale


@dataclasses.dataclass
class WriteMetrics(Callback):
  """One row per epoch, for metrics.csv and TensorBoard.

  Attributes:
    check_folder: Raises UserError, before anything is written, if the run's folder is no longer
      this process's.
    texts: What TensorBoard shows of the run beside its curves, by name, in Markdown.
    hparams: The options by which TensorBoard compares it with other runs.
  """

  check_folder: Callable[[], None]
  texts: Mapping[str, str]
  hparams: Mapping[str, bool | float | str]

  def after_updates(self, session: RunSession, state: TrainState, step: int, count: int) -> None:
    """Hands the texts over after the first dispatch: what TensorBoard needs is imported then, and
    does not hold up its compilation.
    """
    if self.texts:
      session.writer.write_texts(step - count, self.texts)
      session.writer.write_hparams(self.hparams)
      self.texts = {}

  def end_epoch(self, session: RunSession, state: TrainState) -> TrainState:
    """Has the row written."""
    rows = tuple(session.rows)

    def write() -> None:
      self.check_folder()
      session.writer.write_epoch(rows)

    session.background.submit(write)
    return state

  def end(self, session: RunSession, state: TrainState, step: int, interrupted: bool) -> None:
    """Says that the run is over, if it is."""
    if not interrupted:
      session.writer.write_success()


class StopEarly(Callback):
  """Ends the run by `config.early_stopping`, which may be so at once for one that goes on."""

  def start(self, session: RunSession, step: int) -> None:
    """Decides by the epochs before."""
    # The first process alone knows the rows of a run whose checkpoints keep no history.
    stops = monitor.stops_early(session.trainer.config.early_stopping, session.rows)
    session.stopped_early = multihost.broadcast_from_main(stops)

  def end_epoch(self, session: RunSession, state: TrainState) -> TrainState:
    """Decides by the epochs so far."""
    self.start(session, int(session.rows[-1]['step']))
    return state

  def end(self, session: RunSession, state: TrainState, step: int, interrupted: bool) -> None:
    """Says so."""
    config = session.trainer.config.early_stopping
    if session.stopped_early and step < session.trainer.total_steps:
      session.progress.note(
        f'stopped early: {config.monitor} got no better for more than '
        f'--config.early_stopping.patience={config.patience} allows'
      )


class LowerLearningRate(Callback):
  """Scales the learning rate by `config.plateau`."""

  def end_epoch(self, session: RunSession, state: TrainState) -> TrainState:
    """Puts the scale that follows from the epochs so far into the state."""
    config = session.trainer.config
    if not config.plateau.patience:
      return state
    scale = monitor.lr_scale(config.plateau, session.rows, optim.learning_rate(config.optimizer))
    return with_lr_scale(state, multihost.broadcast_from_main(scale))


@dataclasses.dataclass
class SaveCheckpoints(Callback):
  """The best state, and those to go on from.

  One save is in progress at most. Where more than one checkpoint is kept, the next one waits for
  it. Else a save that has not begun when the next one is due is not made: the newest state and the
  newest best are what counts, and nothing waits. The host holds five copies of the state at most:
  two that are being written, two that wait and a new one.
  Of several processes the first one copies and writes.

  Attributes:
    config: The section `checkpoint`.
    facts: -> what the host has to remember beside the state.
    check_folder: Raises UserError if the run's folder is no longer this process's.
  """

  config: ConfigDict
  checkpoints: Checkpoints
  facts: Callable[[], dict[str, Any]]
  check_folder: Callable[[], None]

  def __post_init__(self) -> None:
    self._lock = threading.Lock()
    self._asked = 0  # saves so far
    # Whether it is the best -> the copy that is to be written, and its facts.
    self._waiting: dict[bool, tuple[TrainState, dict[str, Any]]] = {}

  def after_updates(self, session: RunSession, state: TrainState, step: int, count: int) -> None:
    """Saves every `every_steps` within an epoch."""
    every = self.config.every_steps
    if every and step % every == 0 and not session.trainer.ends_epoch(step):
      session.drain()  # what is not finite is not saved
      self._save(session, state)

  def end_epoch(self, session: RunSession, state: TrainState) -> TrainState:
    """Saves the best, and every `every_epochs` and at the end the latest.

    The best is saved before the latest: killed in between, the run repeats this epoch and finds the
    best in place.
    """
    row, every = session.rows[-1], self.config.every_epochs
    best = monitor.is_best(row, session.rows[:-1], self.config.best)
    last = row['step'] == session.trainer.total_steps or session.stopped_early
    latest = last or bool(every and row['epoch'] % every == 0)
    if best or latest:
      chosen = {
        name: session.validation[name] for name in (THRESHOLDS,) if name in session.validation
      }
      self._save(session, state, {**row, **chosen}, best=best, latest=latest)
    return state

  def end(self, session: RunSession, state: TrainState, step: int, interrupted: bool) -> None:
    """Saves what was reached when the user asked for a stop, and waits until it is on disk."""
    if interrupted:
      session.drain()
      self._save(session, state)
      session.background.wait()
      multihost.broadcast_from_main(True)  # no process says so before

  def _save(
    self,
    session: RunSession,
    state: TrainState,
    row: Mapping[str, Any] = types.MappingProxyType({}),
    *,
    best: bool = False,
    latest: bool = True,
  ) -> None:
    """Copies the state, whose memory the next update reuses, and has the copy written."""
    if not multihost.is_main_process():
      return
    if self.config.keep > 1:
      session.background.wait()
    copy = on_host(state), {**self.facts(), **row}
    with self._lock:
      self._asked += 1
      number = self._asked
      self._waiting |= dict.fromkeys([True] * best + [False] * latest, copy)
    session.background.submit(lambda: self._write(number))

  def _write(self, number: int) -> None:
    self.check_folder()
    with self._lock:
      if number != self._asked:
        return  # the one asked for later comes after its own row of metrics.csv
      waiting, self._waiting = self._waiting, {}
    for is_best in sorted(waiting, reverse=True):
      self.checkpoints.save(*waiting.pop(is_best), best=is_best)


class Profile(Callback):
  """Records what the devices do during some updates, for TensorBoard's profile page.

  The trace is written below the run's TensorBoard folder, where `tensorboard --logdir RUN` finds it
  if the package `tensorboard-plugin-profile` is installed; Perfetto (ui.perfetto.dev) opens the
  `trace.json.gz` in it without any.

  Args:
    config: The section `profile`; `after_steps` counts from the first update of a session, since
      that compiles.
  """

  def __init__(self, config: ConfigDict, run: pathlib.Path):
    self._folder = run / 'tensorboard'
    self._steps = config.steps
    self._after_steps = config.after_steps
    self._first: int | None = None
    self._recording = False

  def start(self, session: RunSession, step: int) -> None:
    """Plans the recording."""
    self._first = step + self._after_steps if self._steps else None

  def before_updates(self, session: RunSession, step: int) -> None:
    """Starts to record, if the time has come."""
    if self._first is not None and not self._recording and step >= self._first:
      jax.profiler.start_trace(self._folder)
      self._recording = True

  def after_updates(self, session: RunSession, state: TrainState, step: int, count: int) -> None:
    """Writes the trace once the last update of the stretch is made."""
    if self._recording and self._first is not None and step >= self._first + self._steps:
      jax.block_until_ready(state)
      self._write()
      traces = self._folder / 'plugins' / 'profile'
      session.progress.note(f'trace of {self._steps} steps in {traces}')

  def end(self, session: RunSession, state: TrainState, step: int, interrupted: bool) -> None:
    """Writes what there was, if the session ends first."""
    if self._recording:
      self._write()

  def _write(self) -> None:
    jax.profiler.stop_trace()
    self._recording, self._first = False, None


class ShowProgress(Callback):
  """A bar per epoch, and a line when it is over."""

  def __init__(self) -> None:
    self._epoch = -1

  def before_updates(self, session: RunSession, step: int) -> None:
    """Opens the bar of an epoch."""
    trainer = session.trainer
    epoch, position = divmod(step, trainer.steps_per_epoch)
    if epoch != self._epoch:
      self._epoch = epoch
      steps = trainer.steps_in_epoch(step)
      session.progress.start_epoch(epoch + 1, trainer.epochs, steps, position)

  def after_updates(self, session: RunSession, state: TrainState, step: int, count: int) -> None:
    """Moves it."""
    session.progress.advance(count)

  def end_epoch(self, session: RunSession, state: TrainState) -> TrainState:
    """Closes the bar and prints the epoch's line; what it tells of may not be on disk yet."""
    row = session.rows[-1]
    left = session.seconds_left(int(row['step'])) or 0.0
    session.progress.end_epoch(int(row['epoch']), session.trainer.epochs, row, left)
    return state
