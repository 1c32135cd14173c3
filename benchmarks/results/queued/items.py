"""What is in the queue, and what of it is done."""

import functools
import pathlib
import shlex
import tomllib
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks import tables
from benchmarks.results import collect
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import did_you_mean

HARDWARE = ('cpu', 'gpu')


class Item(NamedTuple):
  """A system to train.

  Attributes:
    name: Its own, from which those of its runs are made.
    config: The name of a file in configs/.
    overrides: Options of the config, '--config.epochs=150'.
    seeds: A run for each.
    hardware: 'cpu', 'gpu' or 'any': where its minutes are bearable.
    minutes: About how long one run takes.
    value: Of one run, compared with those of other items.
    why: What it stands beside.
  """

  name: str
  config: str
  overrides: tuple[str, ...]
  seeds: tuple[int, ...]
  hardware: str
  minutes: float
  value: float
  why: str


class Run(NamedTuple):
  """One seed of an item."""

  item: Item
  seed: int

  @property
  def name(self) -> str:
    """The name of its folder and of its row."""
    return f'{self.item.name}_seed{self.seed}'

  def options(self, overrides: Sequence[str]) -> list[str]:
    """What launch.py is to be told but for the folder; later overrides win."""
    config = f'--config=configs/{self.item.config}.py'
    return [config, *self.item.overrides, *overrides, f'--config.seed={self.seed}']


class Place(NamedTuple):
  """Where runs and their rows are.

  Attributes:
    runs: Holds a folder and a log for each run.
    results: Holds the tables to which finished runs are added.
    overrides: Options that every run gets.
  """

  runs: pathlib.Path
  results: pathlib.Path
  overrides: tuple[str, ...] = ()

  def log(self, run: Run) -> pathlib.Path:
    """The file with the output of all sessions of a run."""
    return self.runs / f'{run.name}.log'

  def is_finished(self, run: Run) -> bool:
    """Whether its folder has a summary, or a table of this place or of the project its row."""
    return self.has_summary(run) or self.has_row(run, self.results, tables.RESULTS)

  def has_summary(self, run: Run) -> bool:
    """Whether it was trained to its end in its folder."""
    from cifar_jax.run_dir.run_files import SUMMARY

    return (self.runs / run.name / SUMMARY).exists()

  def has_row(self, run: Run, *folders: pathlib.Path) -> bool:
    """Whether a table in one of the folders has its row."""
    command = shlex.join(['launch.py', *run.options(self.overrides)])
    table = table_of(run.item, self.overrides)
    key = collect.key_of(table)
    row = collect.row_of(run.name, {'command': command, 'seed': run.seed}, table)
    rows = [row for folder in folders for row in tables.read(folder / f'{table}.csv')]
    return key(row) in map(key, rows)

  def epoch(self, run: Run) -> str:
    """The last epoch in its folder, '0' before that; '' if it has not begun."""
    from cifar_jax.run_dir.history import CSV_NAME

    rows = tables.read(self.runs / run.name / CSV_NAME)
    return rows[-1]['epoch'] if rows else '0' * (self.runs / run.name).exists()


def read(path: pathlib.Path) -> list[Item]:
  """The items of a queue file, in their order.

  Raises:
    UserError: it is no TOML, or an item lacks a value or has one that is of no use.
  """
  try:
    content = tomllib.loads(path.read_text('utf-8'))
  except (OSError, ValueError) as error:
    raise UserError(f'{path} cannot be read: {error}') from error
  return in_order([_item(path, name, values) for name, values in content.items()])


def in_order(items: Sequence[Item]) -> list[Item]:
  """Items by value per minute, highest first; equal ones as they stand."""
  return sorted(items, key=lambda item: -item.value / item.minutes)


def _item(path: pathlib.Path, name: str, values: Any) -> Item:
  fields = set(Item._fields) - {'name'}
  if not isinstance(values, dict) or set(values) != fields:
    raise UserError(f'{path}: [{name}] must have {", ".join(sorted(fields))} and nothing else')
  lists = {key: tuple(values[key]) for key in ('overrides', 'seeds')}
  item = Item(**{**values, 'name': name, **lists})
  if item.hardware not in (*HARDWARE, 'any') or not item.seeds or item.minutes <= 0:
    raise UserError(f"{path}: [{name}] needs hardware 'cpu', 'gpu' or 'any', seeds and minutes")
  return item


def chosen(items: Sequence[Item], hardware: str | None, only: str | None) -> list[Item]:
  """The items for some hardware and of some names; None stands for all.

  Raises:
    UserError: there is no item of such a name.
  """
  known = [item.name for item in items]
  names = only.split(',') if only is not None else known
  for name in names:
    if name not in known:
      raise UserError(f'--only: there is no item {name!r}{did_you_mean(name, known)}')
  every = (hardware, 'any') if hardware else (*HARDWARE, 'any')
  return [item for item in items if item.name in names and item.hardware in every]


@functools.lru_cache
def table_of(item: Item, overrides: tuple[str, ...] = ()) -> str:
  """The table to which the runs of an item belong: 'photographs' or 'runs'.

  Raises:
    UserError: there is no such config, or an option is wrong.
  """
  from cifar_jax import config as configs

  path = tables.RESULTS.parent / 'configs' / f'{item.config}.py'
  config = configs.load(str(path), [*item.overrides, *overrides])
  return 'photographs' if config.data.name == 'folder' else 'runs'
