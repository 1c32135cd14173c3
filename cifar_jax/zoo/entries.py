"""What there is in the zoo, and where."""

import pathlib

from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import did_you_mean

FOLDER = pathlib.Path(__file__).absolute().parent
PREFIX = 'zoo:'
MOST_BYTES = 20_000_000  # of all entries together


def names() -> list[str]:
  """The names of the entries, sorted."""
  return sorted(path.parent.name for path in FOLDER.glob('*/config.json'))


def find(name: str) -> pathlib.Path:
  """The model folder of an entry.

  Raises:
    UserError: there is none of that name; the message has the nearest one.
  """
  known = names()
  if name not in known:
    raise UserError(
      f'{PREFIX}{name} is not in the zoo{did_you_mean(name, known)} '
      '(python -m cifar_jax zoo list shows all)'
    )
  return FOLDER / name


def name_of(run: pathlib.Path) -> str | None:
  """The name of the entry that a folder is; None of any other folder."""
  place = run.absolute()
  return place.name if place.parent == FOLDER else None
