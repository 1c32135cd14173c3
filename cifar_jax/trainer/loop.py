"""Training, from a config to a result: where steps, checkpoints, metrics and the terminal meet."""

import contextlib
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax import data
from cifar_jax.analysis import layer_table
from cifar_jax.devices import multihost, sharding
from cifar_jax.run_dir import history, run_files
from cifar_jax.run_dir.background import Background
from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.run_dir.lock import run_lock
from cifar_jax.run_dir.metric_writers import NoWriter, RunWriter
from cifar_jax.run_dir.progress import Progress
from cifar_jax.run_dir.signals import stop_signals
from cifar_jax.run_dir.timer import RunTimer
from cifar_jax.trainer import cached_features, callbacks, resume, run_summary
from cifar_jax.trainer.build import build_trainer
from cifar_jax.trainer.evaluator import Placed
from cifar_jax.trainer.input_pipeline import make_input_pipeline
from cifar_jax.trainer.programs import TEST, VALIDATION, CompiledAhead
from cifar_jax.trainer.session import Callback, NotFiniteError, Session
from cifar_jax.trainer.step_memory import check_step_fits
from cifar_jax.training.steps import TrainState, variables
from cifar_jax.utils.files import make_folder, write_json


def train(
  config: ConfigDict,
  run: pathlib.Path,
  progress: Progress,
  startup_note: str = '',
  extra_callbacks: Sequence[Callback] = (),
) -> dict[str, Any]:
  """Trains, or continues, the run in a folder; the same call again resumes it.

  Args:
    config: Locked; checked here before anything starts.
    run: The folder of the run; made if missing.
    startup_note: What was set before JAX started, for the header.
    extra_callbacks: What else is to happen around the updates, such as
      `report.epoch_images.EpochImages`; after the metrics are written, before decisions are taken.

  Returns:
    The content of summary.json; {} if a signal stopped the run before its end, and in all
    processes but the first.

  Raises:
    UserError: The config is wrong or not that of the run in the folder, there are no data, the disk
      is full, or the loss is not finite.
  """
  # 1. Check.
  is_main = multihost.is_main_process()
  if not is_main:
    progress = Progress('silent')
  configs.validate(config)
  configs.validate_config_unchanged(config, run)
  finished = resume.finished(config, run, progress)
  if finished:
    return finished

  # 2. Data.
  splits = data.with_shared_images_noted(data.load_splits(config))
  if not run_files.has_begun(run):
    data.check_classes_left(splits, config.data.validation)

  # 3. Build.
  trainer = build_trainer(config, splits)
  check_step_fits(trainer, splits)
  network = layer_table.describe(trainer.recipe.module, splits.image_shape)
  make_folder(run, 'run folder')
  progress.split_note = run_summary.split_note(splits)

  with (
    contextlib.closing(CompiledAhead(trainer, splits)) as ahead,
    stop_signals() as stop,
    run_lock(run) if is_main else contextlib.nullcontext(lambda: None) as check_folder,
    Checkpoints(run, config.checkpoint.keep, read_back=config.checkpoint.read_back) as checkpoints,
  ):
    # 4. Initialize: the first that there is of
    #   a. the last checkpoint of this run,
    #   b. the best weights of another run, config.init_from,
    #   c. published weights, config.model.weights, for the layers that they have,
    #   d. random numbers, which depend on config.seed.
    if checkpoints.latest() is None:
      ahead.begin(0)
    restored = checkpoints.restore(trainer.abstract_state())
    state, facts = restored or (trainer.init(), {})
    step = int(jax.device_get(state.step))
    resume.check_same_step(run, step)
    ahead.begin(step)
    rows: list[dict[str, float]] = []
    if restored:
      resume.validate_resume(trainer, splits, run, step, facts)
      rows = run_files.rows_so_far(checkpoints, run, facts, step)
    if is_main:
      configs.save(config, run)
      about = run_summary.about(config, splits, network)
      write_json(run / run_files.ABOUT, {'format': configs.FORMAT, **about})
      if trainer.recipe.statistics is not None:
        run_files.save_normalization(run, trainer.recipe.statistics)
    progress.note(run_summary.header(trainer, splits, network, run, startup_note))
    if restored:
      progress.note(f'resuming after step {step} of {trainer.total_steps}\n')
      for note in (
        resume.note_on_losses(config, facts),
        resume.note_on_generator(trainer.generator, facts),
      ):
        if note:
          progress.note(note)

    # 5. Loop.
    as_trained = cached_features.make_substitute(trainer.recipe, variables(state))
    validation = trainer.evaluate.place(as_trained(splits.validation))
    timer = RunTimer(facts)
    devices = resume.devices_so_far(facts, sharding.describe(trainer.mesh))

    def facts_now() -> dict[str, Any]:
      return {
        **splits.facts,
        'config': configs.to_json(config),
        **timer.facts(),
        **history.to_facts(rows),
        'devices': devices,
        'rng': trainer.generator,
      }

    def measure(state: TrainState, split: str, placed: Placed) -> dict[str, float]:
      ahead.wait(split)
      return trainer.evaluate(state, placed)

    try:
      with (
        RunWriter(run, rows, step if restored else None, config.tensorboard)
        if is_main
        else NoWriter() as writer,
        Background(run) as background,
      ):
        if writer.note:
          progress.note(f'{writer.note}\n')
        train_split = as_trained(splits.train)
        with contextlib.closing(make_input_pipeline(trainer, train_split, step)) as pipeline:
          session = Session(
            trainer,
            splits,
            pipeline,
            evaluate=lambda state: measure(state, VALIDATION, validation),
            stop=multihost.SharedStop(stop, trainer.mesh),
            timer=timer,
            rows=rows,
            progress=progress,
            writer=writer,
            background=background,
            ahead=ahead,
            callbacks=(
              callbacks.WriteMetrics(check_folder, run_summary.texts(trainer, network, state)),
              *extra_callbacks,
              callbacks.StopEarly(),
              callbacks.LowerLearningRate(),
              callbacks.Profile(config.profile, run),
              callbacks.SaveCheckpoints(config.checkpoint, checkpoints, facts_now, check_folder),
              callbacks.ShowProgress(),
            ),
          )
          state = session.run(state, step)
        if not session.stopped_early and int(jax.device_get(state.step)) < trainer.total_steps:
          return {}

        # 6. Final evaluation, of the last state, while that is saved.
        val_metrics = session.validation or measure(state, VALIDATION, validation)
        test_metrics = val_metrics if config.evaluate.test else {}
        whole = not splits.validation_is_test or config.evaluate.drop_remainder
        if config.evaluate.test and whole:
          test = trainer.evaluate.place(as_trained(splits.test))
          test_metrics = measure(state, TEST, test)
    except NotFiniteError as error:
      raise resume.not_finite(run, checkpoints, error.step, trainer.steps_per_epoch) from None

    # 7. Summary, when all is on disk.
    if not is_main:
      return {}
    results = run_summary.results(
      trainer, splits, network, state, val_metrics, test_metrics, rows, timer, devices
    )
    write_json(run / run_files.SUMMARY, {'format': configs.FORMAT, **results})
    progress.note(run_summary.closing(results, run))
    return results
