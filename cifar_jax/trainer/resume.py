"""Going on with a run: what the host remembers beside the state, and whether it fits."""

import pathlib
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.data import Splits
from cifar_jax.devices import multihost
from cifar_jax.run_dir import history, run_files
from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import run_summary
from cifar_jax.trainer.build import Trainer
from cifar_jax.training.monitor import stops_early
from cifar_jax.utils.errors import UserError


def finished(config: ConfigDict, run: pathlib.Path, progress: Progress) -> dict[str, Any]:
  """The summary of a run with which nothing is left to do, after the user was told; {} otherwise.

  Where summary.json cannot be read, the run counts as one that has not finished: its last
  checkpoint is measured again and the file written anew. So is what else was lost.
  """
  try:
    summary = run_files.read_summary(run)
  except UserError as error:
    progress.note(f'{str(error).partition("; ")[0]} and is written again\n')
    return {}
  if any(summary.get(option) != config[option] for option in ('epochs', 'max_steps')):
    return {}
  stopped_early = summary.get('stopped_early')  # older summaries lack it
  if stopped_early and not stops_early(config.early_stopping, run_files.saved_rows(run)):
    return {}
  # What evaluation and prediction read beside the checkpoints.
  names = [configs.CONFIG_NAME, run_files.ABOUT]
  if config.data.normalize != 'given':
    names.append(run_files.NORMALIZATION)
  if not all((run / name).exists() for name in names):
    return {}
  limit = 'max_steps' if summary['steps'] == config.max_steps else 'epochs'
  progress.note(f'{run} has finished; --config.{limit}={2 * config[limit]} would go on')
  progress.note(run_summary.closing(summary, run))
  return summary


def note_on_losses(config: ConfigDict, facts: Mapping[str, Any]) -> str:
  """A sentence where the epochs before a checkpoint report another loss than those after it."""
  minimized_otherwise = config.loss.label_smoothing or config.loss.class_weights
  if history.of_facts(facts) is not None or not minimized_otherwise:
    return ''
  return (
    'the losses of the epochs before are those of an older version, with label smoothing and class '
    'weights; from now on they are the plain cross-entropy, so compare them by accuracy\n'
  )


def note_on_generator(generator: str, facts: Mapping[str, Any]) -> str:
  """A sentence where the updates before a checkpoint drew random numbers by another generator."""
  before = facts.get('rng', 'threefry')  # checkpoints of older versions lack it
  if before == generator:
    return ''
  return (
    f"the updates before drew by the generator '{before}', those from now on draw by "
    f"'{generator}': other numbers for augmentation and dropout than without the change; "
    f'--config.rng={before} keeps them\n'
  )


def devices_so_far(facts: Mapping[str, Any], devices: str) -> list[str]:
  """What the run was trained on, in order, this session's devices last."""
  before = list(facts.get('devices', []))  # checkpoints of older versions lack them
  return before if before[-1:] == [devices] else [*before, devices]


def validate_resume(
  trainer: Trainer, splits: Splits, run: pathlib.Path, step: int, facts: Mapping[str, Any]
) -> None:
  """Raises UserError where a checkpoint is of another config, of other data or of a longer run."""
  if 'config' in facts:  # checkpoints of older versions lack it
    configs.check_same(configs.of_json(facts['config'], run), trainer.config, run)
  if not splits.are_those_of(facts):
    raise UserError(
      f'{run} was trained on other data than {splits.source} holds now, or by an older version '
      'that read these data otherwise; give it back its data, or choose another --workdir'
    )
  if step > trainer.total_steps:
    config = trainer.config
    done, limit = f'trained {step / trainer.steps_per_epoch:g} epochs', 'epochs'
    if trainer.total_steps == config.max_steps:
      done, limit = f'made {step:,} updates', 'max_steps'
    raise UserError(
      f'{run} has already {done}, more than --config.{limit}={config[limit]}; ask for more, or '
      'choose another --workdir'
    )


def check_same_step(run: pathlib.Path, step: int) -> None:
  """Raises UserError where this process has read another checkpoint than the first one."""
  first = int(multihost.broadcast_from_main(float(step)))
  if step != first:
    raise UserError(
      f'this process begins after step {step} and the first one after step {first}: {run} must be '
      'a folder that all processes see, and what is in it the same for all'
    )


def not_finite(
  run: pathlib.Path, checkpoints: Checkpoints, step: int, steps_per_epoch: int
) -> UserError:
  """What to do about NaN in update `step`, counted from 0."""
  epoch = step // steps_per_epoch + 1
  saved = checkpoints.latest()
  kept = 'there is no checkpoint yet'
  if saved is not None:
    kept = f'the checkpoint of step {saved} is good'
  start = ''
  if checkpoints.best() is not None:
    start = f'; --config.init_from={run} begins it with the best weights of this one'
  return UserError(
    f'the loss or the parameters became NaN or infinite in step {step + 1} (epoch {epoch}); '
    f'{kept}: start a new run, in another --workdir, with a smaller '
    '--config.optimizer.learning_rate or with --config.optimizer.gradient_clip_norm, which cannot '
    f'change within a run{start}'
  )
