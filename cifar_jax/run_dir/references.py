"""Where the RUN of a command is: the folder of a run or a model, zoo:NAME or hub:OWNER/NAME."""

import pathlib

from cifar_jax.utils.errors import UserError
from cifar_jax.utils.paths import run_path
from cifar_jax.zoo import entries

_HUB = 'hub:'


def is_named(text: str) -> bool:
  """Whether a RUN is the same on every machine, as zoo:NAME and hub:OWNER/NAME are."""
  return text.startswith((entries.PREFIX, _HUB))


def resolve(run: str | pathlib.Path) -> pathlib.Path:
  """The folder that a RUN means; a path is that of the folder itself.

  Raises:
    UserError: there is no such entry in the zoo or on the hub, or no folder could have that name.
  """
  if isinstance(run, pathlib.Path):
    return run
  text = run
  if text.startswith(_HUB):
    from cifar_jax.run_dir import hub  # brings JAX, which not every command line needs

    return hub.fetch(hub.parse(text))
  if text.startswith(entries.PREFIX):
    return entries.find(text.removeprefix(entries.PREFIX))
  path = run_path(text)
  if text in entries.names() and not path.exists():
    raise UserError(f'{text} is no folder here; the entry of the zoo is {entries.PREFIX}{text}')
  return path


def shown(run: pathlib.Path) -> str:
  """A RUN as a command can take it: of a folder of this package zoo:NAME, of one that came from the
  hub hub:OWNER/NAME.
  """
  if (name := entries.name_of(run)) is not None:
    return f'{entries.PREFIX}{name}'
  return str(run) if (name := _name_on_hub(run)) is None else f'{_HUB}{name}'


def is_packaged(run: pathlib.Path) -> bool:
  """Whether a folder is a part of this package, into which nothing is written."""
  return entries.name_of(run) is not None


def report_folder(run: pathlib.Path) -> pathlib.Path:
  """Where what is found out about a run is written: RUN/report, or, of what comes with the package
  or from the hub, reports/zoo_NAME or reports/hub_OWNER_NAME in the current folder.
  """
  if (name := entries.name_of(run)) is not None:
    return pathlib.Path('reports', f'zoo_{name}')
  if (name := _name_on_hub(run)) is not None:
    return pathlib.Path('reports', f'hub_{name.replace("/", "_")}')
  return run / 'report'


def _name_on_hub(run: pathlib.Path) -> str | None:
  """'OWNER/NAME' of a folder that came from the hub."""
  from cifar_jax.run_dir import hub  # brings JAX

  return hub.name_of(run)
