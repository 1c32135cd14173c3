"""A run's folder while a process trains there: what is read to go on, and what is written."""

import contextlib
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax

from cifar_jax import config as configs
from cifar_jax.analysis.layer_table import NetworkSummary
from cifar_jax.data import Splits
from cifar_jax.devices import multihost, sharding
from cifar_jax.run_dir import history, model_folder, run_files
from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.run_dir.lock import run_lock
from cifar_jax.run_dir.metric_writers import NoWriter, RunWriter
from cifar_jax.run_dir.timer import RunTimer
from cifar_jax.trainer import callbacks, resume, run_summary
from cifar_jax.trainer.build import Trainer
from cifar_jax.trainer.session import Callback
from cifar_jax.training.steps import TrainState
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import make_folder, write_json


@dataclasses.dataclass(eq=False)
class OpenedRun:
  """A run whose folder is locked.

  Attributes:
    network: What the header and the summary say of the network.
    check_folder: Raises UserError if the folder is no longer this process's.
    saved: The facts of the checkpoint that the run goes on from; {} for a new one.
    step: The number of updates that it has.
    rows: The history; the session adds its own rows.
    timer: Where the time goes; starts with `begin`, and anew with `start_timer`.
  """

  trainer: Trainer
  splits: Splits
  network: NetworkSummary
  folder: pathlib.Path
  checkpoints: Checkpoints
  check_folder: Callable[[], None]
  restored: bool = False
  saved: dict[str, Any] = dataclasses.field(default_factory=dict)
  step: int = 0
  rows: list[dict[str, float]] = dataclasses.field(default_factory=list)

  def begin(self, target: TrainState, init: Callable[[], TrainState]) -> TrainState:
    """The state to go on with, that of the last checkpoint or a new one; writes what is known of
    the run before its first update.

    Args:
      target: The abstract state.
      init: -> the state before the first update.

    Raises:
      UserError: The checkpoint is of another config, of other data or of a longer run.
    """
    trainer = self.trainer
    found = self.checkpoints.restore(target)
    state, self.saved = found or (init(), {})
    self.restored = found is not None
    self.step = int(jax.device_get(state.step))
    resume.check_same_step(self.folder, self.step)
    if self.restored:
      resume.validate_resume(trainer, self.splits, self.folder, self.step, self.saved)
      self.rows = run_files.rows_so_far(self.checkpoints, self.folder, self.saved, self.step)
    if multihost.is_main_process():
      configs.save(trainer.config, self.folder)
      about = run_summary.about(trainer.config, self.splits, self.network)
      write_json(self.folder / run_files.ABOUT, {'format': configs.FORMAT, **about})
      if trainer.recipe.statistics is not None:
        run_files.save_normalization(self.folder, trainer.recipe.statistics)
    self._devices = resume.devices_so_far(self.saved, sharding.describe(trainer.mesh))
    self.start_timer()
    return state

  def start_timer(self) -> None:
    """Starts to count the seconds of this session."""
    self.timer = RunTimer(self.saved)

  def notes(self) -> list[str]:
    """What a reader has to know of a run that goes on."""
    if not self.restored:
      return []
    trainer = self.trainer
    notes = (
      f'resuming after step {self.step} of {trainer.total_steps}\n',
      resume.note_on_losses(trainer.config, self.saved),
      resume.note_on_generator(trainer.generator, self.saved),
    )
    return [note for note in notes if note]

  def facts(self) -> dict[str, Any]:
    """What a checkpoint has to keep beside the state."""
    return {
      **self.splits.facts,
      'config': configs.to_json(self.trainer.config),
      **self.timer.facts(),
      **history.to_facts(self.rows),
      'devices': self._devices,
      'rng': self.trainer.generator,
    }

  def writer(self) -> RunWriter | NoWriter:
    """What writes metrics.csv and events, in the first process."""
    if not multihost.is_main_process():
      return NoWriter()
    step = self.step if self.restored else None
    return RunWriter(self.folder, self.rows, step, self.trainer.config.tensorboard)

  def callbacks(self, state: TrainState, extra: Sequence[Callback]) -> tuple[Callback, ...]:
    """What happens around the updates of any run; `extra` after the metrics are written."""
    config, texts = self.trainer.config, run_summary.texts(self.trainer, self.network, state)
    return (
      callbacks.WriteMetrics(self.check_folder, texts, run_summary.hparams(config)),
      *extra,
      callbacks.StopEarly(),
      callbacks.LowerLearningRate(),
      callbacks.Profile(config.profile, self.folder),
      callbacks.SaveCheckpoints(config.checkpoint, self.checkpoints, self.facts, self.check_folder),
      callbacks.ShowProgress(),
    )

  def summarize(
    self,
    state: TrainState,
    validation: Mapping[str, float],
    test: Mapping[str, float],
    together: int = 1,
  ) -> dict[str, Any]:
    """Writes summary.json, when all else is on disk, and returns its content.

    Args:
      state: The state after the last step.
      together: The number of runs that were trained in one program.
    """
    results = run_summary.results(
      self.trainer,
      self.splits,
      self.network,
      state,
      validation,
      test,
      self.rows,
      self.timer,
      self._devices,
      together,
    )
    write_json(self.folder / run_files.SUMMARY, {'format': configs.FORMAT, **results})
    return results

  def not_finite(self, step: int) -> UserError:
    """What to do about NaN in update `step`, counted from 0."""
    return resume.not_finite(self.folder, self.checkpoints, step, self.trainer.steps_per_epoch)


@contextlib.contextmanager
def open_run(
  trainer: Trainer, splits: Splits, network: NetworkSummary, folder: pathlib.Path
) -> Iterator[OpenedRun]:
  """Makes the folder of a run where it is missing, and keeps other processes out of it.

  Raises:
    UserError: Another process trains there, or nothing can be written there.
  """
  model_folder.check_not_trained_in(folder)
  make_folder(folder, 'run folder')
  kept = trainer.config.checkpoint
  lock = run_lock(folder) if multihost.is_main_process() else contextlib.nullcontext(lambda: None)
  with lock as check_folder, Checkpoints(folder, kept.keep, read_back=kept.read_back) as found:
    yield OpenedRun(trainer, splits, network, folder, found, check_folder)
