"""Where the RUN of a command is: the folder of a run, a model folder, or zoo:NAME."""

import pathlib

from cifar_jax.utils.paths import run_path
from cifar_jax.zoo import entries


def is_named(text: str) -> bool:
  """Whether a RUN is the same on every machine, as zoo:NAME is."""
  return text.startswith(entries.PREFIX)


def resolve(text: str) -> pathlib.Path:
  """The folder that a RUN means.

  Raises:
    UserError: there is no such entry in the zoo, or no folder could have that name.
  """
  if is_named(text):
    return entries.find(text.removeprefix(entries.PREFIX))
  return run_path(text)


def shown(run: pathlib.Path) -> str:
  """A RUN as a command can take it: of a folder of this package zoo:NAME."""
  name = entries.name_of(run)
  return str(run) if name is None else f'{entries.PREFIX}{name}'


def is_packaged(run: pathlib.Path) -> bool:
  """Whether a folder is a part of this package, into which nothing is written."""
  return entries.name_of(run) is not None


def report_folder(run: pathlib.Path) -> pathlib.Path:
  """Where what is found out about a run is written: RUN/report, or, of what comes with the package,
  reports/zoo_NAME in the current folder.
  """
  name = entries.name_of(run)
  return run / 'report' if name is None else pathlib.Path('reports', f'zoo_{name}')
