"""What a run leaves behind to read: metrics.csv and TensorBoard events.

Events are written in one background thread, which also imports what they need: training starts at
once, and a program that writes none imports nothing for them.
"""

import concurrent.futures
import contextlib
import math
import pathlib
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from cifar_jax.run_dir import history
from cifar_jax.run_dir.history import Row
from cifar_jax.utils.files import disk_errors

if TYPE_CHECKING:
  from cifar_jax.run_dir.event_file import EventFile

# -> images, name -> uint8 [N, H, W, C]; and texts in Markdown that belong to them, by name.
Draw = Callable[[], tuple[Mapping[str, np.ndarray], Mapping[str, str]]]


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
    tensorboard: bool,
    measured: Sequence[str] = (),
  ):
    """Opens the files and makes metrics.csv what the checkpoint says.

    Args:
      run: The run's folder.
      rows: The rows of the epochs so far.
      resume_step: The number of updates made so far; None if the run starts anew.
      tensorboard: Whether to write events at all.
      measured: The columns of the run beside those of every run, of `history.FURTHER`.
    """
    self._run = run
    self._measured = tuple(measured)
    with disk_errors(run):
      self.note = history.restore_csv(run, rows, resume_step is None, self._measured)
    self._events = _Events(run / 'tensorboard', tensorboard)

  def __enter__(self) -> 'RunWriter':
    return self

  def __exit__(self, *_: object) -> None:
    self._events.close()

  def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
    """Hands TensorBoard texts in Markdown by name, to be shown beside the curves."""
    self._events.submit('train', lambda file: file.write_texts(step, texts))

  def write_hparams(self, hparams: Mapping[str, bool | float | str]) -> None:
    """Hands TensorBoard the options that its HParams page compares, in a file beside the curves'
    folders: the page takes what lies below for the metrics.
    """
    self._events.submit('.', lambda file: file.write_hparams(hparams))

  def write_success(self) -> None:
    """Hands TensorBoard that the run is over."""
    self._events.submit('.', lambda file: file.write_success())

  def write_epoch(self, rows: Sequence[Row]) -> None:
    """Appends the last of the rows so far to metrics.csv and hands its numbers to TensorBoard."""
    with disk_errors(self._run):
      history.append_row(self._run, rows, self._measured)
    row = rows[-1]
    step = int(row['step'])
    train = {
      'loss': row['train_loss'],
      'accuracy': row['train_accuracy'],
      **{name: row[name] for name in ('learning_rate', 'images_per_second', 'epoch_seconds')},
    }
    names = 'val_loss', 'val_accuracy', *self._measured
    validation = {name.removeprefix('val_'): row[name] for name in names}
    train = {name: value for name, value in train.items() if not math.isnan(value)}
    self._events.submit('train', lambda file: file.write_scalars(step, train))
    if not math.isnan(row['val_accuracy']):  # not every epoch need be validated
      self._events.submit('validation', lambda file: file.write_scalars(step, validation))

  def write_images(self, step: int, draw: Draw) -> None:
    """Hands TensorBoard what a function draws, which is called in the background thread."""

    def write(file: 'EventFile') -> None:
      images, texts = draw()
      file.write_images(step, images)
      file.write_texts(step, texts)

    self._events.submit('validation', write)


class NoWriter:
  """Takes the place of `RunWriter` in all processes but the first, and writes nothing."""

  note = ''

  def __enter__(self) -> 'NoWriter':
    return self

  def __exit__(self, *_: object) -> None:
    pass

  def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
    """Writes nothing."""

  def write_hparams(self, hparams: Mapping[str, bool | float | str]) -> None:
    """Writes nothing."""

  def write_success(self) -> None:
    """Writes nothing."""

  def write_epoch(self, rows: Sequence[Row]) -> None:
    """Writes nothing."""

  def write_images(self, step: int, draw: Draw) -> None:
    """Writes nothing."""


class _Events:
  """TensorBoard events, written in one background thread; a folder a curve, as Keras."""

  def __init__(self, folder: pathlib.Path, wanted: bool):
    self._folder = folder
    self._wanted = wanted
    self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix='tensorboard')
    self._lock = threading.Lock()
    self._pending: list[concurrent.futures.Future[None]] = []
    self._files: dict[str, EventFile] = {}

  def submit(self, name: str, write: Callable[['EventFile'], None]) -> None:
    """Runs `write(file)` later, for the file of the curve `name`; raises what has failed so far."""

    def job() -> None:
      file = self._file(name)
      write(file)
      file.flush()

    # Rows come from the thread that writes the run, images from the one that trains.
    with self._lock, disk_errors(self._folder):
      while self._pending and self._pending[0].done():
        self._pending.pop(0).result()
      if self._wanted:
        self._pending.append(self._thread.submit(job))

  def close(self) -> None:
    """Waits for all writes; a failed one is raised here."""
    self._thread.shutdown(wait=True)
    with disk_errors(self._folder), contextlib.ExitStack() as files:
      for file in self._files.values():
        files.callback(file.close)
      for future in self._pending:
        future.result()

  def _file(self, name: str) -> 'EventFile':
    from cifar_jax.run_dir.event_file import EventFile

    if name not in self._files:
      self._files[name] = EventFile(self._folder / name)
    return self._files[name]
