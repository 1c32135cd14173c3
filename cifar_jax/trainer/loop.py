"""Training: the one place where steps, checkpoints, metrics and the terminal come together.

The host only dispatches: it never waits for a step except to bound how far it runs ahead, and it
reads averages of steps that are already finished. Stopping is possible after every dispatch.
"""

import collections
import contextlib
import dataclasses
import math
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from cifar_jax import data, optim
from cifar_jax.config import parse as configs
from cifar_jax.data import Examples, Splits
from cifar_jax.devices import multihost, sharding
from cifar_jax.report.epoch_images import EpochPictures
from cifar_jax.run_dir import history
from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.run_dir.lock import Hold, run_lock
from cifar_jax.run_dir.metric_writers import NoWriter, RunWriter
from cifar_jax.run_dir.profiler import Profiler
from cifar_jax.run_dir.progress import Progress
from cifar_jax.run_dir.signals import stop_signals
from cifar_jax.run_dir.timer import RunTimer
from cifar_jax.trainer import cached_features, resume, run_summary
from cifar_jax.trainer.build import Trainer, build_trainer
from cifar_jax.trainer.input_pipeline import Feed, make_feed
from cifar_jax.trainer.step_memory import check_step_fits
from cifar_jax.training.monitor import is_best, rate_factor, stops_early
from cifar_jax.training.steps import StepMetrics, TrainState, evaluated_variables
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import write_json

# Dispatches under way before the host waits: enough to hide it, few enough to stop soon.
_DISPATCHES_AHEAD = 4


def train(
  config: ConfigDict, run: pathlib.Path, progress: Progress, startup_note: str = ''
) -> dict[str, Any]:
  """Trains, or continues, the run in a folder; the same call again resumes it.

  Args:
    config: locked; checked here before anything starts.
    run: folder of the run; made if missing.
    progress: what to show.
    startup_note: what was set before JAX started, for the header.

  Returns:
    The content of summary.json; {} if a signal stopped the run before its end, and in all
    processes but the first.

  Raises:
    UserError: the config is wrong or not that of the run in the folder, no data, a full disk, a
      loss that is not finite.
  """
  if not multihost.is_main_process():
    progress = Progress('silent')
  configs.validate(config)
  configs.check_continues(config, run)
  finished, problem = resume.finished_summary(run)
  if problem:
    progress.note(f'{problem}\n')
  goes_on = finished.get('stopped_early') and not stops_early(
    config.early_stopping, resume.saved_rows(run)
  )
  same_end = all(finished.get(option) == config[option] for option in ('epochs', 'max_steps'))
  # A finished run whose files were lost is measured again, which writes them anew.
  if same_end and not goes_on and resume.is_complete(config, run):
    progress.note(f'{run} has finished; --config.epochs={2 * config.epochs} would go on')
    progress.note(run_summary.closing(finished, run))
    return finished
  splits = data.split(
    data.load(config.data),
    config.data.validation,
    config.data.validation_from,
    config.seed,
    config.data.keep_duplicates_together,
  )
  splits = data.with_shared_images_noted(data.validated(splits, config))
  if not resume.has_begun(run):
    data.check_classes_left(splits, config.data.validation)
  trainer = build_trainer(config, splits)
  check_step_fits(trainer, splits)
  try:
    run.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f'cannot make the run folder {run}: {error.strerror}') from error
  progress.remark = run_summary.remark(splits)

  first = multihost.is_main_process()
  with (
    stop_signals() as stop,
    run_lock(run) if first else contextlib.nullcontext() as hold,
    Checkpoints(run, config.checkpoint.keep) as checkpoints,
  ):
    restored = checkpoints.restore(trainer.abstract_state())
    state, facts = restored or (trainer.init(), resume.fresh_facts(config, splits))
    step = int(jax.device_get(state.step))
    resume.check_continues(trainer, splits, run, step, facts)
    rows = resume.rows_so_far(checkpoints, run, facts, step) if restored else []
    if first:
      configs.save(config, run)
      write_json(run / run_summary.ABOUT_NAME, run_summary.about(trainer, splits))
    if trainer.recipe.statistics is not None:
      trainer.recipe.statistics.save(run)
    progress.note(run_summary.header(trainer, splits, run, startup_note))
    if restored:
      progress.note(f'resuming after step {step} of {trainer.total_steps}\n')
      if note := resume.note_on_losses(config, facts):
        progress.note(f'{note}\n')
    as_trained = cached_features.make_substitute(trainer.recipe, run_summary.variables(state))
    texts = run_summary.texts(trainer, splits, state)
    with (
      RunWriter(run, rows, step if restored else None, texts, config.tensorboard)
      if first
      else NoWriter() as writer,
      contextlib.closing(make_feed(trainer, as_trained(splits.train), step)) as feed,
    ):
      if writer.note:
        progress.note(f'{writer.note}\n')
      shared_stop = multihost.SharedStop(stop, trainer.mesh)
      session = _Session(
        *(trainer, splits, as_trained, feed, run, hold, checkpoints, writer, progress),
        *(shared_stop, facts, rows),
      )
      state = session.run(state, step)
    if int(jax.device_get(state.step)) < trainer.total_steps and not session.stops_early:
      return {}
    validation, test = session.measured(state)
    if not first:
      return {}
    results = session.results(state, validation, test)
    write_json(run / run_summary.SUMMARY_NAME, results)
    progress.note(run_summary.closing(results, run))
    return results


class _Session:
  """One session of a run: from its start or last checkpoint to its end or an interruption.

  Attributes:
    stops_early: whether the epochs so far are the whole run, by `config.early_stopping`.
  """

  def __init__(
    self,
    trainer: Trainer,
    splits: Splits,
    as_trained: Callable[[Examples], Examples],
    feed: Feed,
    run: pathlib.Path,
    hold: Hold | None,
    checkpoints: Checkpoints,
    writer: RunWriter | NoWriter,
    progress: Progress,
    stop: multihost.SharedStop,
    facts: dict[str, Any],
    rows: list[dict[str, float]],
  ):
    self._trainer = trainer
    self._config = trainer.config
    self._splits = splits
    self._run = run
    self._hold = hold
    self._checkpoints = checkpoints
    self._writer = writer
    self._progress = progress
    self._stop = stop
    self._pictures = EpochPictures(trainer.config, trainer.module, trainer.recipe.normalize, splits)
    self._feed = feed
    self._as_trained = as_trained
    self._validation = trainer.place_to_evaluate(as_trained(splits.validation))
    self._compiled: set[tuple[int, bool]] = set()
    self._reports: collections.deque[tuple[int, StepMetrics, Any]] = collections.deque()
    self._clock = RunTimer(facts)
    self._devices = resume.devices_so_far(facts, sharding.describe(trainer.mesh))
    self._first_step = 0
    self._measured: dict[str, float] = {}  # on the validation split, in the last state
    self._rows = rows  # of the epochs so far, those of earlier sessions too
    self._decide()

  def run(self, state: TrainState, step: int) -> TrainState:
    """Trains from `step` to the end, or until a stop was asked for and the state is saved."""
    trainer, config = self._trainer, self._config
    total, per_epoch = trainer.total_steps, trainer.steps_per_epoch
    self._first_step = step
    shown_epoch = -1
    profiler = Profiler(config.profile, self._run, step)
    while step < total and not self._stop.asked and not self.stops_early:
      epoch, position = divmod(step, per_epoch)
      if epoch != shown_epoch:
        shown_epoch = epoch
        steps = min(per_epoch, total - epoch * per_epoch)
        self._progress.start_epoch(epoch + 1, trainer.epochs, steps, position)
      count = trainer.dispatch_length(step, self._feed.at_once)
      masked = trainer.short_last_batch and position + count == per_epoch
      with profiler.dispatch(step):
        state = self._dispatch(state, step, count, masked)
      step += count
      if note := profiler.after(step, state):
        self._progress.note(note)
      self._progress.advance(count)
      if step % per_epoch == 0 or step == total:
        state = self._end_epoch(state, step)
      elif config.checkpoint.every_steps and step % config.checkpoint.every_steps == 0:
        self._save(state, step)
    profiler.close()
    if self.stops_early and step < total:
      self._progress.note(
        f'stopped early: {config.early_stopping.monitor} got no better for more than '
        f'--config.early_stopping.patience={config.early_stopping.patience} allows'
      )
    elif self._stop.asked and step < total:
      self._save(state, step)
      self._stop.saved()
      self._progress.close()
      self._progress.note(
        f'stopped after step {step} of {total} and saved; the same command goes on from there'
      )
    return state

  def measured(self, state: TrainState) -> tuple[dict[str, float], dict[str, float]]:
    """Loss and accuracy after the last step, on the validation and the test split."""
    trainer, splits = self._trainer, self._splits
    validation = test = self._measured or trainer.evaluate(state, self._validation)
    if not splits.validation_is_test or self._config.evaluate.last_batch == 'drop':
      test = trainer.evaluate(state, trainer.place_to_evaluate(self._as_trained(splits.test)))
    return validation, test

  def results(
    self, state: TrainState, validation: dict[str, float], test: dict[str, float]
  ) -> dict[str, Any]:
    """The content of summary.json, after the last step."""
    return run_summary.results(
      self._trainer,
      self._splits,
      state,
      validation,
      test,
      self._rows,
      self._clock,
      self._devices,
    )

  def _dispatch(self, state: TrainState, step: int, count: int, masked: bool) -> TrainState:
    start, waited = time.perf_counter(), self._feed.input_wait_seconds
    state, report = self._feed.update(state, step, count, masked)
    votes = self._stop.vote()
    if (count, masked) not in self._compiled:
      jax.block_until_ready(report)
      self._compiled.add((count, masked))
      self._clock.compiled(time.perf_counter() - start)
      self._look_at(step, report, votes)
      return state
    self._reports.append((step, report, votes))
    if len(self._reports) > _DISPATCHES_AHEAD:
      self._look_at(*self._reports.popleft())
    self._clock.trained(
      time.perf_counter() - start,
      count * self._config.batch_size,
      self._feed.input_wait_seconds - waited,
    )
    return state

  def _look_at(self, step: int, report: StepMetrics, votes: Any) -> None:
    """Reads a finished dispatch: stops if something is not finite, shows the averages."""
    self._stop.count(votes)
    loss, accuracy, bad_step = jax.device_get((report.loss, report.accuracy, report.bad_step))
    if bad_step >= 0:
      self._progress.close()
      epoch = bad_step // self._trainer.steps_per_epoch + 1
      raise resume.not_finite(self._run, self._checkpoints, int(bad_step), epoch)
    self._progress.show(float(loss), float(accuracy), self._left(step))

  def _drain(self) -> None:
    start = time.perf_counter()
    while self._reports:
      self._look_at(*self._reports.popleft())
    self._clock.trained(time.perf_counter() - start)

  def _end_epoch(self, state: TrainState, step: int) -> TrainState:
    """Validates, writes the epoch's row, keeps the best and the latest checkpoint.

    Returns:
      The state, perhaps with a lower learning rate.
    """
    self._drain()
    trainer, config = self._trainer, self._config
    epoch = -(-step // trainer.steps_per_epoch)  # the last one may have ended before its end
    last = step == trainer.total_steps
    training = {n: float(v) for n, v in jax.device_get(state.metrics).compute().items()}
    every = config.evaluate.every_epochs
    validation, self._measured = {'loss': math.nan, 'accuracy': math.nan}, {}
    if last or (every and epoch % every == 0):
      validation = trainer.evaluate(state, self._validation)
      self._measured = validation
    row: dict[str, float] = {
      'step': step,
      'epoch': epoch,
      'train_loss': training['loss'],
      'train_accuracy': training['accuracy'],
      'val_loss': validation['loss'],
      'val_accuracy': validation['accuracy'],
      'learning_rate': float(trainer.schedule(step - 1) * self._rate_factor),
      **self._clock.end_epoch(),
    }
    best = is_best(row, self._rows, config.checkpoint.best)
    self._rows.append(row)
    self._check_folder()
    self._writer.write_epoch(self._rows)
    if multihost.is_main_process() and self._pictures.due(epoch):
      # Drawn on one device.
      variables = jax.device_get(evaluated_variables(trainer.recipe, state))
      self._writer.write_pictures(step, *self._pictures.draw(variables, epoch))
    self._decide()
    if config.plateau.patience:
      factor = jnp.float32(self._rate_factor)
      state = dataclasses.replace(state, rate_factor=sharding.replicate(factor, trainer.mesh))
    # The best is saved before the latest: killed in between, the run repeats this epoch and finds
    # the best in place.
    if multihost.broadcast_from_main(best):
      self._checkpoints.save(state, {**self._facts(), **row}, best=True)
    due = config.checkpoint.every_epochs and epoch % config.checkpoint.every_epochs == 0
    if due or last or self.stops_early:
      self._checkpoints.save(state, {**self._facts(), **row})
    self._progress.end_epoch(epoch, trainer.epochs, row, self._left(step) or 0.0)
    return state

  def _decide(self) -> None:
    """What follows from the epochs so far: whether the run goes on, and at which rate."""
    config, rows = self._config, self._rows
    # The first process alone knows the rows of a run whose checkpoints keep no history.
    self.stops_early = multihost.broadcast_from_main(stops_early(config.early_stopping, rows))
    self._rate_factor = multihost.broadcast_number_from_main(
      rate_factor(config.plateau, rows, optim.learning_rate(config.optimizer))
    )

  def _save(self, state: TrainState, step: int) -> None:
    self._drain()
    self._check_folder()
    self._checkpoints.save(state, self._facts())

  def _check_folder(self) -> None:
    if self._hold is not None:
      self._hold.check()

  def _facts(self) -> dict[str, Any]:
    return {
      **resume.fresh_facts(self._config, self._splits),
      **self._clock.facts(),
      **history.to_facts(self._rows),
      'devices': self._devices,
    }

  def _left(self, step: int) -> float | None:
    """Seconds to the end of the run at this session's pace."""
    return self._clock.left(step - self._first_step, self._trainer.total_steps - step)
