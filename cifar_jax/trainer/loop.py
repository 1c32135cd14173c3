"""Training, from a config to a result: where steps, checkpoints, metrics and the terminal meet."""

import contextlib
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax import data
from cifar_jax.analysis import layer_table
from cifar_jax.devices import multihost
from cifar_jax.devices.multihost import Stop
from cifar_jax.run_dir import model_folder, references, run_files
from cifar_jax.run_dir.background import Background
from cifar_jax.run_dir.progress import Progress
from cifar_jax.run_dir.signals import stop_signals
from cifar_jax.trainer import cached_features, resume, run_summary, step_memory
from cifar_jax.trainer.build import Trainer, build_trainer
from cifar_jax.trainer.evaluator import Placed
from cifar_jax.trainer.input_pipeline import make_input_pipeline
from cifar_jax.trainer.opened_run import open_run
from cifar_jax.trainer.programs import TEST, VALIDATION, CompiledAhead
from cifar_jax.trainer.session import Callback, NotFiniteError, Session
from cifar_jax.training.multi_label import THRESHOLDS
from cifar_jax.training.steps import TrainState, variables


def train(
  config: ConfigDict,
  run: str | pathlib.Path,
  progress: Progress,
  startup_note: str = '',
  extra_callbacks: Sequence[Callback] = (),
  build: Callable[[ConfigDict, data.Splits], Trainer] | None = None,
  stop: Stop | None = None,
) -> dict[str, Any]:
  """Trains, or continues, the run in a folder; the same call again resumes it.

  Args:
    config: Locked; checked here before anything starts.
    run: The folder of the run; made if missing.
    startup_note: What was set before JAX started, for the header.
    extra_callbacks: What else is to happen around the updates, such as
      `report.epoch_images.EpochImages`; after the metrics are written, before decisions are taken.
    build: What builds the trainer, such as `reuse.SameButSeed` for one run after the other; None:
      `build_trainer`.
    stop: That of a block around several runs, so that one signal stops all; None: this run's own.

  Returns:
    The content of summary.json; {} if a signal stopped the run before its end, and in all
    processes but the first.

  Raises:
    UserError: The config is wrong or not that of the run in the folder, there are no data, the disk
      is full, or the loss is not finite.
  """
  # 1. Check.
  run = references.resolve(run)
  is_main = multihost.is_main_process()
  if not is_main:
    progress = Progress('silent')
  configs.validate(config)
  model_folder.check_not_trained_in(run)
  configs.validate_config_unchanged(config, run)
  finished = resume.finished(config, run, progress)
  if finished:
    return finished

  # 2. Data.
  splits = data.with_shared_images_noted(data.load_splits(config))
  if not run_files.has_begun(run):
    data.check_classes_left(splits)

  # 3. Build.
  trainer = (build or build_trainer)(config, splits)
  step_memory.prepare(trainer, splits)
  network = layer_table.describe(
    trainer.recipe.module, splits.image_shape, trainer.recipe.task.activation
  )
  progress.split_note = run_summary.split_note(splits)

  with (
    contextlib.closing(CompiledAhead(trainer, splits)) as ahead,
    stop_signals(stop) as stop,
    open_run(trainer, splits, network, run) as opened,
  ):
    # 4. Initialize: the first that there is of
    #   a. the last checkpoint of this run,
    #   b. the best weights of another run, config.init_from,
    #   c. published weights, config.model.weights, for the layers that they have,
    #   d. random numbers, which depend on config.seed.
    if opened.checkpoints.latest() is None:
      ahead.begin(0)
    state = opened.begin(trainer.abstract_state(), trainer.init)
    ahead.begin(opened.step)
    if not progress.brief:
      progress.note(run_summary.header(trainer, splits, network, run, startup_note))
    for note in opened.notes():
      progress.note(note)

    # 5. Loop.
    as_trained = cached_features.make_substitute(trainer.recipe, variables(state))
    validation = trainer.evaluate.place(as_trained(splits.validation))
    opened.start_timer()

    def measure(
      state: TrainState, split: str, placed: Placed, thresholds: Sequence[float] | None = None
    ) -> dict[str, Any]:
      ahead.wait(split)
      return trainer.evaluate(state, placed, thresholds)

    try:
      with opened.writer() as writer, Background(run) as background:
        if writer.note:
          progress.note(f'{writer.note}\n')
        train_split = as_trained(splits.train)
        pipeline = make_input_pipeline(trainer, train_split, opened.step)
        with contextlib.closing(pipeline):
          session = Session(
            folder=run,
            trainer=trainer,
            splits=splits,
            pipeline=pipeline,
            evaluate=lambda state: measure(state, VALIDATION, validation),
            stop=multihost.SharedStop(stop, trainer.mesh),
            timer=opened.timer,
            rows=opened.rows,
            progress=progress,
            writer=writer,
            background=background,
            ahead=ahead,
            callbacks=opened.callbacks(state, extra_callbacks),
          )
          state = session.run(state, opened.step)
        if not session.stopped_early and int(jax.device_get(state.step)) < trainer.total_steps:
          return {}

        # 6. Final evaluation, of the last state, while that is saved.
        val_metrics = session.validation or measure(state, VALIDATION, validation)
        test_metrics = val_metrics if config.evaluate.test else {}
        whole = not splits.validation_is_test or config.evaluate.drop_remainder
        if config.evaluate.test and whole:
          test = trainer.evaluate.place(as_trained(splits.test))
          test_metrics = measure(state, TEST, test, val_metrics.get(THRESHOLDS))
    except NotFiniteError as error:
      raise opened.not_finite(error.step) from None

    # 7. Summary, when all is on disk.
    if not is_main:
      return {}
    results = opened.summarize(state, val_metrics, test_metrics)
    if not progress.brief:
      progress.note(run_summary.closing(results, run))
    return results
