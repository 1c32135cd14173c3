"""Going on with a run: what the host remembers beside the state, and whether it fits."""

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from cifar_jax.augment.normalize import STATISTICS_NAME
from cifar_jax.config import parse as configs
from cifar_jax.data import Splits
from cifar_jax.run_dir import history
from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.trainer import run_summary
from cifar_jax.trainer.build import Trainer
from cifar_jax.utils.errors import UserError


def fresh_facts(config: ConfigDict, splits: Splits) -> dict[str, Any]:
  """What the host remembers beside the state, before the first step; `RunClock` adds its own, and
  the loop `devices_so_far` and the history.
  """
  return {**splits.facts, 'config': json.loads(config.to_json())}


def rows_so_far(
  checkpoints: Checkpoints, run: pathlib.Path, facts: Mapping[str, Any], step: float = math.inf
) -> list[dict[str, float]]:
  """The rows of the epochs before a checkpoint.

  Args:
    checkpoints: of the run.
    run: its folder.
    facts: of the checkpoint. Without a history, as older versions saved them, metrics.csv is read,
      and what the facts say of an epoch that ended with a checkpoint.
    step: updates made; later rows will be written again.

  Raises:
    UserError: an older version's metrics.csv cannot be read.
  """
  rows = history.of_facts(facts)
  if rows is not None:
    return rows
  found = {row['step']: row for row in history.read_rows(run)}
  for saved in (checkpoints.facts('best'), facts):
    if set(history.COLUMNS) <= saved.keys():
      row = {name: float(saved[name]) for name in history.COLUMNS}
      found.setdefault(row['step'], row)
  return [found[made] for made in sorted(found) if made <= step]


def saved_rows(run: pathlib.Path) -> list[dict[str, float]]:
  """The rows of the epochs before a run's newest checkpoint, as `rows_so_far`."""
  with Checkpoints(run, read_only=True) as checkpoints:
    return rows_so_far(checkpoints, run, checkpoints.facts())


def shown_rows(run: pathlib.Path) -> list[dict[str, float]]:
  """The rows of a run's metrics.csv, or, with a warning, those of its newest checkpoint where that
  file is missing or cannot be read.

  Raises:
    UserError: it cannot be read, and the checkpoint, of an older version, keeps no rows.
  """
  problem = f'{run / history.CSV_NAME} is missing'
  try:
    if (run / history.CSV_NAME).exists():
      return history.read_rows(run)
  except UserError as error:
    problem = str(error).partition('; ')[0]
  rows = saved_rows(run)
  if rows:
    logging.warning('%s: the history of the newest checkpoint is shown', problem)
  return rows


def has_begun(run: pathlib.Path) -> bool:
  """Whether a run has a checkpoint to go on from."""
  with Checkpoints(run, read_only=True) as checkpoints:
    return checkpoints.latest() is not None


def finished_summary(run: pathlib.Path) -> tuple[dict[str, Any], str]:
  """A run's summary.json, and a sentence about it or ''.

  Where it cannot be read it is {}, as that of a run that has not finished: the last checkpoint is
  then measured again and the file written anew.
  """
  try:
    return run_summary.read(run), ''
  except UserError as error:
    return {}, f'{str(error).partition("; ")[0]} and is written again'


def is_complete(config: ConfigDict, run: pathlib.Path) -> bool:
  """Whether a run's folder has what evaluation and prediction read beside the checkpoints."""
  names = [configs.CONFIG_NAME, run_summary.ABOUT_NAME]
  if config.data.normalize != 'given':
    names.append(STATISTICS_NAME)
  return all((run / name).exists() for name in names)


def note_on_losses(config: ConfigDict, facts: Mapping[str, Any]) -> str:
  """A sentence where the epochs before a checkpoint report another loss than those after it."""
  minimized_otherwise = config.loss.label_smoothing or config.loss.class_weights
  if history.of_facts(facts) is not None or not minimized_otherwise:
    return ''
  return (
    'the losses of the epochs before are those of an older version, with label smoothing and class '
    'weights; from now on they are the plain cross-entropy, so compare them by accuracy'
  )


def devices_so_far(facts: Mapping[str, Any], devices: str) -> list[str]:
  """What the run was trained on, in order, this session's devices last.

  Args:
    facts: of the checkpoint that the session begins with.
    devices: of this session.
  """
  before = list(facts.get('devices', []))  # checkpoints of older versions lack them
  return before if before[-1:] == [devices] else [*before, devices]


def check_continues(
  trainer: Trainer, splits: Splits, run: pathlib.Path, step: int, facts: Mapping[str, Any]
) -> None:
  """Raises UserError where a checkpoint is of another config, of other data or of a longer run.

  Args:
    trainer: what is to be trained.
    splits: on what.
    run: folder of the run.
    step: updates made, by the checkpoint.
    facts: saved with it.
  """
  if 'config' in facts:  # checkpoints of older versions lack it
    configs.check_same(configs.of_json(facts['config']), trainer.config, run)
  if not splits.are_those_of(facts):
    raise UserError(
      f'{run} was trained on other data than {splits.source} holds now, or by an older version '
      'that read these data otherwise; give it back its data, or choose another --workdir'
    )
  if step > trainer.total_steps:
    raise UserError(
      f'{run} has already trained {step / trainer.steps_per_epoch:g} epochs, more than '
      f'{_length(trainer.config)}; ask for more, or choose another --workdir'
    )


def not_finite(run: pathlib.Path, checkpoints: Checkpoints, step: int, epoch: int) -> UserError:
  """What to do about NaN in update `step`, counted from 0, of an epoch counted from 1."""
  saved = checkpoints.latest()
  kept = 'there is no checkpoint yet'
  if saved is not None:
    kept = f'the checkpoint of step {saved} is good'
  start = ''
  if checkpoints.best() is not None:
    start = f'; --config.start_from={run} begins it with the best weights of this one'
  return UserError(
    f'the loss or the parameters became NaN or infinite in step {step + 1} (epoch {epoch}); '
    f'{kept}: start a new run, in another --workdir, with a smaller '
    '--config.optimizer.learning_rate or with --config.optimizer.gradient_clip_norm, which cannot '
    f'change within a run{start}'
  )


def _length(config: ConfigDict) -> str:
  limit = f' and --config.max_steps={config.max_steps}' if config.max_steps else ''
  return f'--config.epochs={config.epochs}{limit}'
