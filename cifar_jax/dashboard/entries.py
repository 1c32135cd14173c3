"""What the page is told of one run: as JSON, small enough that hundreds come at once."""

import functools
import math
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.report import leaderboard
from cifar_jax.run_dir import history, run_files
from cifar_jax.trials import groups
from cifar_jax.utils.errors import UserError

Entry = dict[str, Any]
# What tells of the run beside its numbers, where its files say it.
_FACTS = (
  *('command', 'devices', 'processor', 'data_source', 'placement', 'model', 'layers', 'steps'),
  *('compile_seconds', 'peak_memory_mb', 'jax', 'flax', 'python', 'stopped_early'),
)
_APART = ('seed', 'tags', 'tensorboard')  # have a column of their own, or leave the training alone
_TEST_NUMBERS = tuple(name for name in groups.MEASURED if name.startswith('test_'))
_SILENT_SECONDS = 120.0  # after which a run is not thought to train, where no lock can be asked


def describe(run: pathlib.Path, held: bool | None) -> Entry:
  """The entry of a run, finished, going on, or damaged; what is not known is missing.

  Args:
    held: Whether a process holds the run's lock; None where that cannot be told.
  """
  try:
    return _described(run, held)
  except UserError as error:
    problem = str(error)
  except Exception as error:  # a page of many runs must not end with one of them
    problem = f'{run} cannot be read: {type(error).__name__}: {error}'
  row = {'run': run.name or str(run)}
  return {'row': row, 'state': 'training' if held else 'damaged', 'problem': problem}


def without_test_numbers(entry: Entry) -> Entry:
  """An entry without what its run measured on the test set."""
  row = {name: value for name, value in entry['row'].items() if name not in _TEST_NUMBERS}
  return {**entry, 'row': row}


def went_silent(entry: Entry) -> bool:
  """Whether a run that was described as training without a lock to ask no longer seems to."""
  return entry.get('state') == 'training' and _is_silent(entry['updated'], entry['pace'])


def _is_silent(updated: float, pace: float | None) -> bool:
  return time.time() - updated >= max(_SILENT_SECONDS, 3 * (pace or 0.0))


def _described(run: pathlib.Path, held: bool | None) -> Entry:
  config = configs.read(run)
  row = leaderboard.describe(run)
  rows, problem = _rows(run)
  summary = run_files.read_summary(run)
  finished = row.pop('state') == 'finished'
  known = {**run_files.read_about(run), **summary}
  updated, pace = _modified(run), plain(_pace(rows))
  if held is None:
    held = not _is_silent(updated, pace)
  row.pop('folder')
  system = row.pop('system')  # runs of one differ in the seed alone
  if rows:
    row |= {name: rows[-1][name] for name in ('train_loss', 'train_accuracy', 'learning_rate')}
  return {
    'row': {name: plain(value) for name, value in row.items()},
    'state': 'finished' if finished else 'training' if held else 'stopped',
    'options': changed_options(config),
    'system': system,
    'total': _epochs(config, rows),
    'pace': pace,
    'updated': updated,
    'images': bool(config.tensorboard and config.evaluate.images_every_epochs),
    'facts': {name: plain(known[name]) for name in _FACTS if known.get(name) not in (None, '')},
    'curves': curves(rows),
    **({'problem': problem} if problem else {}),
  }


def _rows(run: pathlib.Path) -> tuple[list[dict[str, float]], str]:
  """The rows of metrics.csv; or those of the newest checkpoint, and what is wrong with the file."""
  try:
    return history.read_rows(run), ''
  except UserError as error:
    return run_files.shown_rows(run), str(error)


@functools.cache
def defaults() -> dict[str, Any]:
  """The options of a config that changes none, as `changed_options` writes them."""
  return _options(configs.get_config())


def changed_options(config: ConfigDict) -> dict[str, Any]:
  """Option -> value where a config is not as the defaults, None where it lacks one of theirs."""
  usual, own = defaults(), _options(config)
  missing = dict.fromkeys(key for key in usual if key not in own)
  return {key: value for key, value in own.items() if usual.get(key) != value} | missing


def curves(rows: Sequence[Mapping[str, float]]) -> dict[str, list[float | None]]:
  """The columns of metrics.csv to five digits, more than a screen shows; None is not measured."""
  return {
    name: [int(row[name]) if name in ('step', 'epoch') else _short(row[name]) for row in rows]
    for name in history.COLUMNS
  }


def plain(value: Any) -> Any:
  """A value of a file or a config as JSON can hold it."""
  if isinstance(value, float):
    return value if math.isfinite(value) else None
  return value if isinstance(value, str | int | bool) or value is None else str(value)


def _options(config: ConfigDict) -> dict[str, Any]:
  """Options that are set, with tuples as text."""
  return {
    key: plain(value)
    for key, value in configs.flatten(config)
    if value is not None and key not in _APART and key != 'format'
  }


def _epochs(config: ConfigDict, rows: Sequence[Mapping[str, float]]) -> int:
  """How many epochs the run is going to have, as far as that can be told."""
  if config.max_steps and rows:
    return min(config.epochs, math.ceil(config.max_steps / (rows[0]['step'] / rows[0]['epoch'])))
  return int(config.epochs)


def _pace(rows: Sequence[Mapping[str, float]]) -> float | None:
  """Seconds of an epoch, by the last three."""
  last = sorted(row['epoch_seconds'] for row in rows[-3:])
  return last[len(last) // 2] if last else None


def _modified(run: pathlib.Path) -> float:
  """When the run last wrote of itself, in seconds since 1970."""
  times = []
  for name in (history.CSV_NAME, configs.CONFIG_NAME):
    try:
      times.append((run / name).stat().st_mtime)
    except OSError:
      continue
  return max(times, default=0.0)


def _short(value: float) -> float | None:
  return float(f'{value:.5g}') if math.isfinite(value) else None
