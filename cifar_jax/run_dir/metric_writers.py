"""What a run leaves behind to read: metrics.csv and TensorBoard events.

CLU's TensorBoard writer imports TensorFlow, which takes seconds. All of it happens in one
background thread, so training starts at once and a program that never writes events never imports
TensorFlow.
"""

import concurrent.futures
import math
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cifar_jax.run_dir import history
from cifar_jax.run_dir.history import Row
from cifar_jax.utils.files import disk_errors


class RunWriter:
  """Writes one row per epoch; use as a context manager so that everything is on disk afterwards.

  Attributes:
    note: A sentence on what was found in place of the metrics.csv of the checkpoint, or ''.
  """

  def __init__(
    self,
    run: pathlib.Path,
    rows: Sequence[Row],
    resume_step: int | None,
    texts: Mapping[str, str],
    tensorboard: bool,
  ):
    """Opens the files and makes metrics.csv what the checkpoint says.

    Args:
      run: The run's folder.
      rows: The rows of the epochs so far.
      resume_step: The number of updates made so far; None if the run starts anew.
      texts: Texts in Markdown by name, shown by TensorBoard beside the curves.
      tensorboard: Whether to write events at all.
    """
    self._run = run
    with disk_errors(run):
      self.note = history.restore_csv(run, rows, anew=resume_step is None)
    self._events = _Events(run / 'tensorboard', tensorboard)
    self._events.submit('train', lambda writer: writer.write_texts(resume_step or 0, texts))

  def __enter__(self) -> 'RunWriter':
    return self

  def __exit__(self, *_: object) -> None:
    self._events.close()

  def write_epoch(self, rows: Sequence[Row]) -> None:
    """Appends the last of the rows so far to metrics.csv and hands its numbers to TensorBoard."""
    with disk_errors(self._run):
      history.append_row(self._run, rows)
    row = rows[-1]
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

  def write_images(
    self, step: int, images: Mapping[str, np.ndarray], texts: Mapping[str, str]
  ) -> None:
    """Hands TensorBoard images, name -> uint8 [N, H, W, C], and Markdown that belongs to them."""

    def write(writer: Any) -> None:
      writer.write_images(step, images)
      writer.write_texts(step, texts)

    self._events.submit('validation', write)


class NoWriter:
  """Takes the place of `RunWriter` in all processes but the first, and writes nothing."""

  note = ''

  def __enter__(self) -> 'NoWriter':
    return self

  def __exit__(self, *_: object) -> None:
    pass

  def write_epoch(self, rows: Sequence[Row]) -> None:
    """Writes nothing."""

  def write_images(
    self, step: int, images: Mapping[str, np.ndarray], texts: Mapping[str, str]
  ) -> None:
    """Writes nothing."""


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
