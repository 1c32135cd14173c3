"""What the page is told of a study: its trials, and how often its runs met the test set."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from cifar_jax.search import table
from cifar_jax.trials import test_looks
from cifar_jax.utils import json_files
from cifar_jax.utils.errors import UserError

ABOUT = test_looks.STUDY_NAME
FILES = (ABOUT, table.NAME, test_looks.NAME)
_SHOWN = ('kind', 'space', 'objectives', 'created')


def describe(folder: pathlib.Path) -> dict[str, Any]:
  """The entry of a study: what it is, `columns` and `trials`, cells in their order and None where a
  trial lacks one, `test_looks`; a file that cannot be read is a `problem`.
  """
  problems: list[str] = []
  about: dict[str, Any] = {}
  trials: list[dict[str, Any]] = []
  try:
    about = json_files.read(folder / ABOUT)
  except (UserError, OSError) as error:
    problems.append(str(error))
  try:
    trials = table.read_table(folder)
  except (UserError, ValueError, KeyError) as error:
    problems.append(str(error))
  try:
    looks = test_looks.sentence(folder)
  except UserError as error:
    looks = ''
    problems.append(str(error))
  columns = _columns(about.get('objectives'), trials)
  return {
    **{name: about.get(name) for name in _SHOWN},
    'columns': columns,
    'trials': [[row.get(name) for name in columns] for row in trials],
    'test_looks': looks,
    **({'problem': '; '.join(problems)} if problems else {}),
  }


def _columns(objectives: Any, trials: Sequence[Mapping[str, Any]]) -> list[str]:
  """Columns that a trial fills: number, state, objectives, what it took, parameters, the rest."""
  filled = dict.fromkeys(name for row in trials for name in row)
  wished = [name for name in objectives or () if isinstance(name, str)]
  parameters = sorted(name for name in filled if name.startswith(table.PARAMETER))
  order = dict.fromkeys(('number', 'state', *wished, *parameters, *table.COLUMNS, *filled))
  return [name for name in order if name in filled]
