"""The trials of a study as trials.csv, which is read without Optuna."""

import csv
import io
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import disk_errors, replacing

NAME = 'trials.csv'
COLUMNS = ('number', 'state', 'reason', 'seconds', 'epochs')
PARAMETER = 'param.'  # before the name of what a space suggests
STATES = ('complete', 'pruned', 'failed', 'running', 'waiting')
_NUMBERS = ('seconds', 'epochs')


def write_table(
  folder: pathlib.Path, rows: Iterable[Mapping[str, Any]], objectives: Iterable[str]
) -> None:
  """Writes the table whole or not at all.

  Args:
    folder: The study's folder.
    rows: One trial each, with `COLUMNS`, the objectives, 'run' and 'param.<name>'. Where seconds
      are an objective, they are that, of trials that have it: the training's alone.
    objectives: Their names, which are columns also where no trial has any yet.

  Raises:
    UserError: the disk is full.
  """
  rows = list(rows)
  parameters = sorted({name for row in rows for name in row if name.startswith(PARAMETER)})
  columns = list(dict.fromkeys((*COLUMNS, *objectives, 'run', *parameters)))
  with (
    disk_errors(folder),
    replacing(folder / NAME, shared=True) as draft,
    draft.open('w', encoding='utf-8', newline='') as file,
  ):
    writer = csv.DictWriter(file, columns)
    writer.writeheader()
    writer.writerows(rows)


def read_table(folder: pathlib.Path) -> list[dict[str, Any]]:
  """The rows of a study's trials.csv; [] while there is none.

  Returns:
    One dictionary per trial: `number` is an int; seconds, epochs, the objectives and those
    parameters that are numbers are floats; what a trial lacks is missing.

  Raises:
    UserError: the file is none of a study.
  """
  path = folder / NAME
  try:
    text = path.read_text('utf-8-sig')
  except FileNotFoundError:
    return []
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(f'{path} cannot be read ({error}); the study writes it again') from None
  try:
    return _rows(path, text)
  except csv.Error as error:
    raise UserError(f'{path} is damaged ({error}); the study writes it again') from None


def _rows(path: pathlib.Path, text: str) -> list[dict[str, Any]]:
  reader = csv.DictReader(io.StringIO(text, newline=''))
  names = list(reader.fieldnames or ())
  if not set(COLUMNS) <= set(names):
    raise UserError(f'{path} is damaged: it lacks {", ".join(COLUMNS)}; the study writes it again')
  objectives = names[len(COLUMNS) : names.index('run')] if 'run' in names else []
  rows = []
  for line in reader:
    row: dict[str, Any] = {name: text for name, text in line.items() if name and text}
    if not row.get('number', '').isdecimal() or row.get('state') not in STATES:
      raise UserError(f'{path} is damaged in line {reader.line_num}; the study writes it again')
    row['number'] = int(row['number'])
    for name in row:
      if name in _NUMBERS or name in objectives or name.startswith(PARAMETER):
        row[name] = _value(row[name])
    rows.append(row)
  return rows


def _value(text: str) -> float | str:
  try:
    return float(text)
  except ValueError:
    return text
