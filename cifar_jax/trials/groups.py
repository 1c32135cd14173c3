"""Runs that differ in their seeds alone: one system, measured several times."""

import dataclasses
import hashlib
import itertools
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.data.preprocessing import FILE_SOURCES
from cifar_jax.trials import statistics, test_looks
from cifar_jax.utils.errors import UserError

# What is measured of a run and scatters from seed to seed -> whether the best is the highest.
MEASURED: Mapping[str, bool] = {
  'val_accuracy': True,
  'val_loss': False,
  'val_map': True,
  'best_val_accuracy': True,
  'test_accuracy': True,
  'test_loss': False,
  'test_map': True,
  'seconds': False,
  'images_per_second': True,
}
# These leave the arithmetic of an update as it is, but make it another system.
_MATTER = {'epochs', 'max_steps'}
# How the same updates are computed, rounding aside.
_WAYS = {'parallel', 'pad_to_devices', 'steps_per_dispatch'}
# Options -> that without which they do nothing, and its value then.
_IDLE = {
  'early_stopping.': ('early_stopping.patience', 0),
  'plateau.': ('plateau.patience', 0),
  'whitening.': ('whitening.layer', ''),
}
Row = dict[str, Any]


def is_share(column: str) -> bool:
  """Whether a number in a column is a part of 1, which people read in percent."""
  return column.endswith(('accuracy', '_map'))


@dataclasses.dataclass(frozen=True)
class Group:
  """Finished runs that differ in their seeds alone, or a single run.

  Attributes:
    name: What to call it.
    rows: What is known of each run, as `report.leaderboard.describe` says it, by seed.
    repeated: Runs whose seed one of `rows` has; they tell nothing new and are left out.
  """

  name: str
  rows: tuple[Row, ...]
  repeated: tuple[Row, ...] = ()

  @property
  def seeds(self) -> tuple[int, ...]:
    """The seeds, ascending."""
    return tuple(row['seed'] for row in self.rows)

  @property
  def finished(self) -> bool:
    """Whether its numbers are those of whole runs."""
    return self.rows[0].get('state') == 'finished'

  @property
  def data(self) -> str:
    """What the runs were trained on, the same text for the same data."""
    return str(self.rows[0].get('data') or '')

  def values(self, column: str) -> dict[int, float]:
    """Seed -> the number in a column; NaN where a run has none."""
    found = {row['seed']: row.get(column) for row in self.rows}
    return {seed: float('nan') if value is None else value for seed, value in found.items()}

  def row(self) -> Row:
    """What is known of the group, as of a run: the mean of each number, and what texts agree on; of
    what is measured also `_sd`, `_low` and `_high`, with `n` and `seeds`, and `_n` of a number that
    only so many of the runs have.
    """
    if len(self.rows) == 1:
      return {**self.rows[0], 'n': 1, 'seeds': str(self.rows[0].get('seed', ''))}
    found: Row = {'n': len(self.rows), 'seeds': listed_seeds(self.seeds), 'run': self.name}
    for name in dict.fromkeys(name for row in self.rows for name in row):
      values = [row.get(name) for row in self.rows]
      if name in ('run', 'seed', 'folder'):
        continue
      alike = all(value == values[0] for value in values)
      numbers = all(isinstance(value, int | float) for value in values if value is not None)
      if alike:
        found[name] = values[0]
      if name not in MEASURED and (alike or not numbers):
        continue
      summary = statistics.summarize(list(self.values(name).values()))
      if summary.n and not alike:
        found[name] = summary.mean
      if 0 < summary.n < len(self.rows):
        found[f'{name}_n'] = summary.n
      if name in MEASURED:
        found |= {f'{name}_{part}': getattr(summary, part) for part in ('sd', 'low', 'high')}
    return found


def signature(config: ConfigDict) -> str:
  """What two runs have in common if and only if their configs differ in the seed, or in what does
  not matter: tags, logs, checkpoints, devices, where data are, how updates are dispatched, options
  of what is turned off, defaults that are written out.
  """
  flat = dict(configs.flatten(config))
  idle = {prefix for prefix, (name, off) in _IDLE.items() if flat.get(name) == off}
  if flat.get('data.name') not in FILE_SOURCES:
    idle.add('data.folder.')
  ignored = (configs.NEUTRAL - _MATTER) | _WAYS
  if any(flat.get(f'{section}.patience') for section in ('early_stopping', 'plateau')):
    ignored -= {'evaluate.every_epochs'}  # patience counts validated epochs
  kept = {
    name: value
    for name, value in flat.items()
    if value is not None and name not in ignored and not name.startswith(tuple(idle))
  }
  kept |= _with_defaults(config)
  text = repr(sorted((name, _plain(value)) for name, value in kept.items()))
  return hashlib.sha256(text.encode()).hexdigest()[:16]


def system(run: pathlib.Path, config: ConfigDict) -> str:
  """What runs that measure one system have in common: the `signature` of their configs. A study's
  trials, and its best one trained again, were chosen for their numbers, or were not: they tell
  nothing of the same config trained outside, or by the study's final.
  """
  study = test_looks.study_of(run)
  inside = run.resolve().relative_to(study).parts[:1] if study else ()
  is_final = not inside or re.fullmatch(rf'{test_looks.FINAL}(_\d+)?', inside[0])
  return signature(config) if is_final else f'{signature(config)} of trials'


def grouped(rows: Sequence[Row]) -> list[Group]:
  """Runs by system and data, in the order in which each group first comes.

  Runs that have not finished, whose numbers are those of other epochs, are groups of their own.

  Args:
    rows: As `report.leaderboard.told_apart` makes them, `system` and `data` among them.
  """
  found: dict[Any, list[Row]] = {}
  for row in rows:
    alone = None if row.get('state') == 'finished' and row.get('system') else row['folder']
    found.setdefault((row.get('system'), row.get('data'), alone), []).append(row)
  groups = []
  for members in found.values():
    by_seed: dict[Any, Row] = {}
    repeated = []
    for row in sorted(members, key=lambda row: row.get('seed') or 0):
      if row.get('seed') in by_seed:
        repeated.append(row)
      else:
        by_seed[row.get('seed')] = row
    groups.append(Group(_name_of(list(by_seed.values())), tuple(by_seed.values()), tuple(repeated)))
  names = [group.name for group in groups]
  return [
    dataclasses.replace(group, name=_place(group)) if names.count(group.name) > 1 else group
    for group in groups
  ]


def _name_of(rows: Sequence[Row]) -> str:
  """What to call some runs: a run by its name, the runs of a folder of seeds by that of the folder,
  others by what their names begin with.
  """
  folders = [pathlib.Path(row['folder']) for row in rows]
  if len(rows) == 1:
    return str(rows[0]['run'])
  parents = {folder.parent for folder in folders}
  if len(parents) == 1 and all(is_seed_folder(folder) for folder in folders):
    return folders[0].resolve().parent.name
  names = [str(row['run']) for row in rows]
  alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
  common = ''.join(letters[0] for letters in alike)
  stem = re.sub(r'[/_.-]*(seed|s)?[/_.-]*\d*$', '', common)
  return f'{stem}*' if stem else f'{names[0]} and {len(rows) - 1} more'


def is_seed_folder(folder: pathlib.Path) -> bool:
  """Whether a folder is called as those of a repeated run are."""
  return re.fullmatch(r'seed_\d+', folder.name) is not None


def listed_seeds(seeds: Sequence[int]) -> str:
  """'0-4', or '0 3 7'."""
  if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[-1] + 1)):
    return f'{seeds[0]}-{seeds[-1]}'
  return ' '.join(map(str, seeds))


def _place(group: Group) -> str:
  folder = pathlib.Path(group.rows[0]['folder'])
  return str(folder if len(group.rows) == 1 else folder.parent)


def _with_defaults(config: ConfigDict) -> dict[str, Any]:
  """The options of what is chosen by name, with the defaults of those that are not set."""
  from cifar_jax import optim

  found: dict[str, Any] = {}
  for section, registry in optim.REGISTRIES.items():
    given = {key: value for key, value in config.get(section, {}).items() if key != 'groups'}
    try:
      complete = dataclasses.asdict(registry.resolve(given))
    except UserError:  # of a run of another version
      continue
    found |= {f'{section}.{key}': value for key, value in complete.items()}
  return found


def _plain(value: Any) -> Any:
  """The same for equal numbers, of whichever type."""
  if isinstance(value, tuple):
    return tuple(map(_plain, value))
  is_number = isinstance(value, int | float) and not isinstance(value, bool)
  return float(value) if is_number else value
