"""The history of a run, a row per epoch: where it is kept, and what metrics.csv says of it.

What training decides by the epochs before (the best, early stopping, a plateau) is decided by the
history that is saved with each checkpoint. metrics.csv shows the same rows to people and programs;
it is written before the checkpoint that has them, and written again where it is not what the
checkpoint says.
"""

import csv
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cifar_jax.run_dir.meanings import FURTHER_METRICS, METRICS
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import replacing

CSV_NAME = 'metrics.csv'
COLUMNS = tuple(METRICS)
# What runs on images with several labels have as well, after those of every run.
FURTHER = tuple(FURTHER_METRICS)
Row = Mapping[str, float]
_FACT, _FURTHER_FACT = 'history', 'history_further'
_LINE_END = '\r\n'  # of CSV, by RFC 4180


def to_facts(rows: Sequence[Row]) -> dict[str, Any]:
  """What a checkpoint keeps of the rows so far."""
  facts: dict[str, Any] = {_FACT: [[float(row[name]) for name in COLUMNS] for row in rows]}
  if rows and (further := further_of(rows[0])):
    facts[_FURTHER_FACT] = {name: [float(row[name]) for row in rows] for name in further}
  return facts


def of_facts(facts: Mapping[str, Any]) -> list[dict[str, float]] | None:
  """The rows that a checkpoint keeps; None if it was saved by a version that kept none."""
  if _FACT not in facts:
    return None
  rows = [dict(zip(COLUMNS, values, strict=True)) for values in facts[_FACT]]
  for name, values in facts.get(_FURTHER_FACT, {}).items():
    for row, value in zip(rows, values, strict=True):
      row[name] = value
  return rows


def further_of(names: Iterable[str]) -> tuple[str, ...]:
  """Those of `FURTHER` that are among some names, in their order."""
  found = set(names)
  return tuple(name for name in FURTHER if name in found)


def read_rows(run: pathlib.Path) -> list[dict[str, float]]:
  """The rows of a run's metrics.csv, numbers as floats; [] without one.

  A last line without an end is left out: it was being written when the process was killed, so its
  numbers may be cut short, and its epoch will be written again.

  Raises:
    UserError: it cannot be read, or is not what a run writes; the message names the line.
  """
  path = run / CSV_NAME
  try:
    text = path.read_text(encoding='utf-8-sig')  # some editors begin with a mark of the encoding
  except FileNotFoundError:
    return []
  except (OSError, UnicodeDecodeError) as error:
    reason = error.strerror if isinstance(error, OSError) else 'it is not UTF-8'
    raise _unreadable(path, str(reason)) from None
  reader = csv.DictReader(text.split('\n')[:-1], strict=True)
  try:
    if text and not set(COLUMNS) <= set(reader.fieldnames or ()):
      raise _unreadable(path, f'its first line does not name the columns {",".join(COLUMNS)}')
    rows = []
    columns = *COLUMNS, *further_of(reader.fieldnames or ())
    for cells in reader:
      row = {name: float(cells[name] or '') for name in columns}
      if not (row['step'].is_integer() and row['epoch'].is_integer()):
        raise ValueError(f'step {row["step"]}, epoch {row["epoch"]}')
      rows.append(row)
  except (csv.Error, ValueError) as error:
    raise _unreadable(path, f'line {reader.line_num}: {error}') from None
  return rows


def restore_csv(
  run: pathlib.Path, rows: Sequence[Row], anew: bool, further: Sequence[str] = ()
) -> str:
  """Makes metrics.csv what a checkpoint says, before a session goes on.

  Rows that a killed session wrote after the checkpoint are dropped: they will be written again. A
  file that says anything else is kept under another name.

  Args:
    anew: Whether there is no checkpoint and the run starts at its beginning.
    further: The columns after those of every run.

  Returns:
    A sentence for the user where there is something to say, else ''.
  """
  path, text = run / CSV_NAME, _text_of(rows, further)
  note = ''
  if not os.path.lexists(path):
    if rows:
      note = f'{path} is missing and is written again, from the checkpoint'
  else:
    try:
      found = path.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError):
      found = '?'
    if anew and found.startswith(text) and '\n' in found[len(text) :]:
      kept = _set_aside(path)
      note = f'{run} holds no checkpoint: the run starts anew, and its metrics of before are {kept}'
    elif found != text and text.startswith(found):
      note = f'{path} ends before the checkpoint does and is completed from it'
    elif not found.startswith(text):
      kept = _set_aside(path)
      note = f'{path} is not what the checkpoint says: it is kept as {kept}, and written again'
  write_rows(run, rows, further)
  return note


def write_rows(run: pathlib.Path, rows: Sequence[Row], further: Sequence[str] = ()) -> None:
  """Writes metrics.csv anew; it is on disk when this returns."""
  path = run / CSV_NAME
  with replacing(path) as draft, draft.open('w', encoding='utf-8', newline=_LINE_END) as file:
    file.write(_text_of(rows, further))
    _sync(file)


def append_row(run: pathlib.Path, rows: Sequence[Row], further: Sequence[str] = ()) -> None:
  """Writes the last of all rows so far; it is on disk when this returns.

  The file is written as a whole where it was deleted in the meantime.
  """
  path = run / CSV_NAME
  text = _lines(rows[-1:], further) if path.exists() else _text_of(rows, further)
  with path.open('a', encoding='utf-8', newline=_LINE_END) as file:
    file.write(text)
    _sync(file)


def _set_aside(path: pathlib.Path) -> str:
  """Renames a file, so that another can take its place; returns its new name."""
  number = 1
  while os.path.lexists(kept := path.with_name(f'{path.name}.kept{number}')):
    number += 1
  path.rename(kept)
  return kept.name


def _sync(file: Any) -> None:
  file.flush()
  os.fsync(file.fileno())


def _text_of(rows: Sequence[Row], further: Sequence[str] = ()) -> str:
  return f'{",".join((*COLUMNS, *further))}\n{_lines(rows, further)}'


def _lines(rows: Sequence[Row], further: Sequence[str] = ()) -> str:
  columns = *COLUMNS, *further
  return ''.join(f'{",".join(_text(row[name]) for name in columns)}\n' for row in rows)


def _text(value: float) -> str:
  """Whole numbers without a point, others with enough digits to read back the same float."""
  return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def _unreadable(path: pathlib.Path, reason: str) -> UserError:
  return UserError(
    f'{path} cannot be read ({reason}); restore it from a copy, or move it away to do without'
  )
