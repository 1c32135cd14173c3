"""What others read of a run's folder: its summary, subject, history and normalization."""

import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.augment.normalize import Normalize, Statistics, make_normalize
from cifar_jax.data import npz_archive
from cifar_jax.run_dir import history
from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.run_dir.meanings import SUMMARY_OF_LABELS
from cifar_jax.utils import json_files
from cifar_jax.utils.errors import UserError

SUMMARY = 'summary.json'
ABOUT = 'about.json'
# With whitening they are many numbers, and no checkpoint need repeat them.
NORMALIZATION = 'normalization.npz'

_NUMBERS = (
  *('val_loss', 'val_accuracy', 'test_loss', 'test_accuracy', 'train_loss', 'train_accuracy'),
  *('best_epoch', 'best_val_loss', 'best_val_accuracy', 'epochs', 'last_epoch', 'max_steps'),
  *('steps', 'batch_size', 'parameters', 'non_trainable_params', 'seconds', 'macs', 'layers'),
  *('images_per_second', 'flops_per_second', 'mfu', 'input_bound_fraction', 'seed'),
  *('train_examples', 'validation_examples', 'test_examples'),
  *SUMMARY_OF_LABELS,
)
_UNKNOWN_AT_TIMES = ('images_per_second', 'flops_per_second', 'mfu')  # null, then
_TEXTS = (
  *('split_note', 'tags', 'data', 'data_source', 'data_fingerprint', 'command', 'model', 'devices'),
  'placement',
)
_TEST = ('test_loss', 'test_accuracy')
# What the closing lines need; summaries of older versions have them too.
_ALWAYS = (
  *(*_TEST, 'split_note', 'epochs', 'max_steps', 'steps', 'seconds'),
  'images_per_second',
)
_MOST_PIXELS = 2**16  # along an edge


def read_summary(run: pathlib.Path) -> dict[str, Any]:
  """A run's summary.json; {} while it has none.

  Raises:
    UserError: it cannot be read, or a value that commands rely on is missing or of another type.
  """
  path = run / SUMMARY
  content = _read(path)
  if content is None:
    return {}
  # Older summaries do not say so: their runs opened the test set.
  closed = _TEST if content.get('test_opened') is False else ()
  for name in _ALWAYS:
    if name not in content and name not in closed:
      raise json_files.damaged(path, f'it has no {name}')
  return content


def read_about(run: pathlib.Path) -> dict[str, Any]:
  """A run's about.json; {} where an old version wrote none.

  Raises:
    UserError: it cannot be read, or its classes or the shape of its images are none.
  """
  path = run / ABOUT
  content = _read(path)
  if content is None:
    return {}
  names, shape = content.get('class_names'), content.get('image_shape')
  if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
    raise json_files.damaged(path, f'class_names is {str(names)[:80]}')
  if not (
    isinstance(shape, list)
    and len(shape) == 3
    and all(isinstance(size, int) and 0 < size <= _MOST_PIXELS for size in shape)
  ):
    raise json_files.damaged(path, f'image_shape is {str(shape)[:80]}')
  return content


def _read(path: pathlib.Path) -> dict[str, Any] | None:
  """A file of results with values of the right types; None where there is none."""
  if not os.path.lexists(path):
    return None
  content = configs.current_results(json_files.read(path), path)
  for names, kind in ((_NUMBERS, int | float), (_TEXTS, str)):
    for name in names:
      unknown = name in _UNKNOWN_AT_TIMES and content.get(name) is None
      if name in content and not unknown and not isinstance(content[name], kind):
        raise json_files.damaged(path, f'{name} is {str(content[name])[:80]!r}')
  return content


def rows_so_far(
  checkpoints: Checkpoints, run: pathlib.Path, facts: Mapping[str, Any], step: float = math.inf
) -> list[dict[str, float]]:
  """The rows of the epochs before a checkpoint.

  Args:
    facts: The facts of the checkpoint. Without a history, as older versions saved them, metrics.csv
      is read, and what the facts say of an epoch that ended with a checkpoint.
    step: The number of updates made; later rows will be written again.

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


def save_normalization(run: pathlib.Path, statistics: Statistics) -> None:
  """Writes what the training images gave into the folder of a run."""
  arrays: dict[str, Any] = {'mean': statistics.mean, 'std': statistics.std}
  if statistics.whitening is not None:
    arrays['whitening'] = statistics.whitening
  np.savez(run / NORMALIZATION, **arrays)


def load_normalization(run: pathlib.Path, data_config: ConfigDict) -> Normalize:
  """Returns the normalization of a run, for which its training images are not needed.

  Raises:
    UserError: the folder lacks the numbers that the run took from its training images.
  """
  if data_config.get('normalize', 'given') == 'given':
    return make_normalize(data_config.mean, data_config.std)
  path = run / NORMALIZATION
  try:
    if not path.is_file():  # a pipe would be waited for
      raise FileNotFoundError
    return Statistics(**npz_archive.read(path, lambda names: names))
  except UserError:
    raise
  except Exception as error:  # zipfile, zlib and numpy have many of their own for damaged files
    remedy = json_files.remedy(path, ', or go on with its training, which writes it again')
    raise UserError(
      f'{path}, which holds what the images of this run are normalized by, cannot be read '
      f'({type(error).__name__}); {remedy}'
    ) from error
