"""What a run leaves behind to read: metrics.csv and TensorBoard events.

CLU's TensorBoard writer imports TensorFlow, which takes seconds. All of it happens in one
background thread, so training starts at once and a program that never writes events never imports
TensorFlow.
"""

import concurrent.futures
import csv
import math
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cifar_jax.run_folder.checkpoint import disk_errors

CSV_NAME = 'metrics.csv'
COLUMNS = (
  'step',
  'epoch',
  'train_loss',
  'train_accuracy',
  'val_loss',
  'val_accuracy',
  'learning_rate',
  'images_per_second',
  'epoch_seconds',
)


class RunWriter:
  """Writes one row an epoch; use as a context manager so that everything is on disk afterwards."""

  def __init__(
    self, run: pathlib.Path, resume_step: int, texts: Mapping[str, str], tensorboard: bool
  ):
    """Opens the files and drops rows that a killed run wrote after its last checkpoint.

    Args:
      run: the run's folder.
      resume_step: updates made so far; later rows will be written again.
      texts: name -> Markdown, shown by TensorBoard beside the curves.
      tensorboard: whether to write events at all.
    """
    self._path = run / CSV_NAME
    rows = [row for row in read_rows(run) if row['step'] <= resume_step]
    with disk_errors(run):
      _write_rows(self._path, rows)
    self._events = _Events(run / 'tensorboard', tensorboard)
    self._events.submit('train', lambda writer: writer.write_texts(resume_step, texts))

  def __enter__(self) -> 'RunWriter':
    return self

  def __exit__(self, *_: object) -> None:
    self._events.close()

  def write_epoch(self, row: Mapping[str, float]) -> None:
    """Appends one row with the keys of COLUMNS and hands the same numbers to TensorBoard."""
    with disk_errors(self._path.parent), self._path.open('a', newline='') as file:
      csv.writer(file).writerow([_text(row[name]) for name in COLUMNS])
    step = int(row['step'])
    train = {
      'loss': row['train_loss'],
      'accuracy': row['train_accuracy'],
      **{name: row[name] for name in ('learning_rate', 'images_per_second', 'epoch_seconds')},
    }
    validation = {'loss': row['val_loss'], 'accuracy': row['val_accuracy']}
    train = {name: value for name, value in train.items() if not math.isnan(value)}
    self._events.submit('train', lambda writer: writer.write_scalars(step, train))
    if not math.isnan(row['val_accuracy']):  # not every epoch need be validated
      self._events.submit('validation', lambda writer: writer.write_scalars(step, validation))

  def write_pictures(
    self, step: int, pictures: Mapping[str, np.ndarray], texts: Mapping[str, str]
  ) -> None:
    """Hands TensorBoard pictures, name -> uint8 [N, H, W, C], and Markdown that belongs to them."""

    def write(writer: Any) -> None:
      writer.write_images(step, pictures)
      writer.write_texts(step, texts)

    self._events.submit('validation', write)


class NoWriter:
  """In the place of `RunWriter` in all processes but the first."""

  def __enter__(self) -> 'NoWriter':
    return self

  def __exit__(self, *_: object) -> None:
    pass

  def write_epoch(self, row: Mapping[str, float]) -> None:
    """Writes nothing."""

  def write_pictures(
    self, step: int, pictures: Mapping[str, np.ndarray], texts: Mapping[str, str]
  ) -> None:
    """Writes nothing."""


def read_rows(run: pathlib.Path) -> list[dict[str, float]]:
  """The rows of a run's metrics.csv, numbers as floats; an unfinished last line is left out."""
  path = run / CSV_NAME
  if not path.exists():
    return []
  # A last line without an end was being written when the process was killed: its numbers may be
  # cut short, and its epoch will be written again.
  lines = path.read_text().splitlines(keepends=True)
  rows = []
  for row in csv.DictReader(line for line in lines if line.endswith('\n')):
    try:
      rows.append({name: float(row[name]) for name in COLUMNS})
    except (KeyError, TypeError, ValueError):
      continue
  return rows


class _Events:
  """TensorBoard events by CLU, written in one background thread; a folder a curve, as Keras."""

  def __init__(self, folder: pathlib.Path, wanted: bool):
    self._folder = folder
    self._wanted = wanted
    self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix='tensorboard')
    self._pending: list[concurrent.futures.Future[None]] = []
    self._writers: dict[str, Any] = {}

  def submit(self, name: str, write: Callable[[Any], None]) -> None:
    """Runs `write(writer)` later, for the writer of the curve `name`."""

    def job() -> None:
      writer = self._writer(name)
      if writer is not None:
        write(writer)
        writer.flush()

    if self._wanted:
      self._pending.append(self._thread.submit(job))

  def close(self) -> None:
    """Waits for all writes; a failed one is raised here."""
    self._thread.shutdown(wait=True)
    with disk_errors(self._folder):
      for future in self._pending:
        error = future.exception()
        # TensorFlow's errors are no OSErrors, whatever the disk did.
        if error is not None and type(error).__module__.startswith('tensorflow'):
          raise OSError(str(error)) from error
        future.result()
      for writer in self._writers.values():
        if writer is not None:
          writer.close()

  def _writer(self, name: str) -> Any:
    if name not in self._writers:
      self._writers[name] = _summary_writer(self._folder / name)
    return self._writers[name]


def _summary_writer(folder: pathlib.Path) -> Any:
  """CLU's writer, with TensorFlow kept quiet and away from the GPUs; None where there is no
  TensorFlow.
  """
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
  os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')
  try:
    import tensorflow as tf
  except ImportError:
    return None
  tf.config.set_visible_devices([], 'GPU')
  from clu.metric_writers import SummaryWriter

  return SummaryWriter(str(folder))


def _write_rows(path: pathlib.Path, rows: list[dict[str, float]]) -> None:
  temporary = path.with_name(f'.{path.name}.partial')
  with temporary.open('w', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(COLUMNS)
    writer.writerows([[_text(row[name]) for name in COLUMNS] for row in rows])
  temporary.replace(path)


def _text(value: float) -> str:
  """Whole numbers without a point, others with enough digits to read back the same float."""
  return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
