"""What the page is told of a study: its trials, and how often its runs met the test set."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cifar_jax.dashboard import entries
from cifar_jax.search import table
from cifar_jax.trials import test_looks
from cifar_jax.utils import json_files
from cifar_jax.utils.errors import UserError

ABOUT = test_looks.STUDY_NAME
FILES = (ABOUT, table.NAME, test_looks.NAME)
_SHOWN = ('kind', 'space', 'created')


def describe(folder: pathlib.Path) -> dict[str, Any]:
  """The entry of a study: what it is, `columns` and `trials`, cells in their order and None where a
  trial lacks one, `test_looks`; a file that cannot be read is a `problem`.
  """
  problems: list[str] = []

  def tried(read: Callable[[pathlib.Path], Any], path: pathlib.Path, otherwise: Any) -> Any:
    try:
      return read(path)
    except (UserError, OSError) as error:
      problems.append(str(error))
    except Exception as error:  # a page of many studies must not end with one of them
      problems.append(f'{path} cannot be read: {type(error).__name__}: {error}')
    return otherwise

  about = tried(json_files.read, folder / ABOUT, {})
  trials = tried(table.read_table, folder, [])
  looks = tried(test_looks.sentence, folder, '')
  given = about.get('objectives')
  objectives = [name for name in given if isinstance(name, str)] if isinstance(given, list) else []
  columns = _columns(objectives, trials)
  return {
    **{name: entries.plain(about.get(name)) for name in _SHOWN},
    'objectives': objectives,
    'columns': columns,
    'trials': [[entries.plain(row.get(name)) for name in columns] for row in trials],
    'test_looks': looks,
    **({'problem': '; '.join(problems)} if problems else {}),
  }


def _columns(objectives: Sequence[str], trials: Sequence[Mapping[str, Any]]) -> list[str]:
  """Columns that a trial fills: number, state, objectives, what it took, parameters, the rest."""
  filled = dict.fromkeys(name for row in trials for name in row)
  parameters = sorted(name for name in filled if name.startswith(table.PARAMETER))
  order = dict.fromkeys(('number', 'state', *objectives, *parameters, *table.COLUMNS, *filled))
  return [name for name in order if name in filled]
