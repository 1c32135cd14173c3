"""What a person sees while a run goes on: a bar on a terminal, one line per epoch elsewhere, or
nothing.
"""

import math
import sys
from collections.abc import Mapping

from tqdm import tqdm


class Progress:
  """Terminal output of one run.

  Attributes:
    split_note: What must stand beside every accuracy, such as 'test used as validation' or
      'synthetic'; set by the loop.
    runs_to_come: The number of runs like this one that are trained after it.
    brief: Whether the header and the closing lines are left out, as those of a run before.
  """

  def __init__(self, mode: str = 'auto'):
    if mode == 'auto':
      mode = 'bar' if sys.stderr.isatty() else 'lines'
    self._mode = mode
    self._bar: tqdm | None = None
    self.split_note = ''
    self.runs_to_come = 0
    self.brief = False

  def note(self, text: str = '') -> None:
    """Prints some lines, above the bar if there is one."""
    if self._mode != 'silent':
      tqdm.write(text, file=sys.stdout)
      sys.stdout.flush()

  def start_epoch(self, epoch: int, epochs: int, steps: int, done: int) -> None:
    """Opens the bar of an epoch (counted from 1) of which `done` steps were made before an
    interruption.
    """
    self.start(f'Epoch {epoch}/{epochs}', steps, done)

  def start(self, title: str, steps: int, done: int = 0) -> None:
    """Opens a bar, of which `done` steps are made."""
    if self._mode == 'bar':
      self._bar = tqdm(
        total=steps,
        initial=done,
        desc=title,
        unit='step',
        leave=False,
        mininterval=0.1,
        dynamic_ncols=True,
      )

  def advance(self, steps: int) -> None:
    """Moves the bar."""
    if self._bar is not None:
      self._bar.update(steps)

  def show(self, loss: float, accuracy: float, seconds_left: float | None) -> None:
    """Shows averages of the epoch so far and the time left for the whole run."""
    if self._bar is not None:
      left = '' if seconds_left is None else f', {duration(seconds_left)} left in all'
      self._bar.set_postfix_str(f'loss {loss:.4f}, acc {accuracy:.4f}{left}', refresh=False)

  def end_epoch(self, epoch: int, epochs: int, row: Mapping[str, float], left: float) -> None:
    """Closes the bar and prints the epoch's line, worded as Keras did (D0, D4)."""
    self.close()
    split_note = f' [{self.split_note}]' if self.split_note else ''
    seconds = row['epoch_seconds']
    ranked = f' - val_mAP: {row["val_map"]:.4f}' if 'val_map' in row else ''
    validation = (
      f' - val_loss: {row["val_loss"]:.4f} - val_acc: {row["val_accuracy"]:.4f}{ranked}{split_note}'
    )
    if math.isnan(row['val_loss']) and math.isnan(row['val_accuracy']):
      validation = ''  # not measured in this epoch
    measured = not math.isnan(row['images_per_second'])
    speed = f' - {row["images_per_second"]:.0f} images/s' if measured else ''
    text = (
      f'Epoch {epoch}/{epochs} - {seconds:.0f}s'
      f' - loss: {row["train_loss"]:.4f} - acc: {row["train_accuracy"]:.4f}'
      f'{validation}{speed}'
    )
    over = epoch == epochs and not self.runs_to_come
    self.note(text if over else f'{text} - {duration(left)} left')

  def close(self) -> None:
    """Removes the bar, if any."""
    if self._bar is not None:
      self._bar.close()
      self._bar = None


def duration(seconds: float) -> str:
  """47 s, 3 min 20 s or 2 h 05 min."""
  whole = round(seconds)
  if whole < 60:
    return f'{whole} s'
  if whole < 3600:
    return f'{whole // 60} min {whole % 60:02d} s'
  return f'{whole // 3600} h {whole % 3600 // 60:02d} min'
