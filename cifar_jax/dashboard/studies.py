"""What the page is told of a study: its trials, and how often its runs met the test set."""

import csv
import json
import math
import pathlib
from typing import Any

ABOUT = 'study.json'
TABLE = 'trials.csv'
LOOKS = 'test_looks.csv'
_MOST_TRIALS = 20_000


def describe(folder: pathlib.Path) -> dict[str, Any]:
  """The entry of a study; a file that cannot be read, as one that is half written, is a problem."""
  problems: list[str] = []
  about: dict[str, Any] = {}
  table: list[dict[str, Any]] = []
  looks = 0
  try:
    about = json.loads((folder / ABOUT).read_text('utf-8'))
    if not isinstance(about, dict):
      raise ValueError('it holds no object')
  except (OSError, ValueError) as error:
    about = {}
    problems.append(f'{folder / ABOUT} cannot be read: {error}')
  try:
    table = _rows(folder / TABLE)
  except (OSError, ValueError, csv.Error) as error:
    problems.append(f'{folder / TABLE} cannot be read: {error}')
  try:
    looks = len(_rows(folder / LOOKS))
  except (OSError, ValueError, csv.Error) as error:
    problems.append(f'{folder / LOOKS} cannot be read: {error}')
  entry: dict[str, Any] = {
    **{name: about.get(name) for name in ('kind', 'space', 'objectives', 'created')},
    'columns': list(table[0]) if table else [],
    'trials': [list(row.values()) for row in table],
    'test_looks': looks,
  }
  return entry | ({'problem': '; '.join(problems)} if problems else {})


def _rows(path: pathlib.Path) -> list[dict[str, Any]]:
  """The rows of a table; [] without one. Texts that are finite numbers are numbers."""
  try:
    text = path.read_text('utf-8')
  except FileNotFoundError:
    return []
  reader = csv.DictReader(text.splitlines(keepends=True), strict=True, restkey='more', restval='')
  return [
    {str(name): _value(cell) for name, cell in row.items()}
    for row, _ in zip(reader, range(_MOST_TRIALS), strict=False)
  ]


def _value(cell: Any) -> Any:
  try:
    number = float(cell)
  except (TypeError, ValueError):
    return str(cell)
  if not math.isfinite(number):
    return str(cell)
  return int(number) if number.is_integer() and abs(number) < 2**53 else number
