"""Several runs side by side: a table sorted by any column."""

import csv
import io
import json
import math
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.cards import facts
from cifar_jax.data.sources import KNOWN_NAMES
from cifar_jax.run_dir import model_folder, run_files
from cifar_jax.run_dir.progress import duration
from cifar_jax.run_dir.run_files import shown_rows
from cifar_jax.run_dir.timer import images_per_second
from cifar_jax.trials import groups
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import did_you_mean

DEPTH = 4  # of folders in which runs are looked for
_INTERVAL = '_interval'  # of the mean of what is measured, where a row is of several runs
_INTERVALS = tuple(f'{name}{_INTERVAL}' for name in groups.MEASURED)
_LOWEST_FIRST = (  # text from A
  *('run', 'data', 'data_fingerprint', 'val_loss', 'test_loss', 'best_epoch', 'parameters', 'macs'),
  *('seconds', 'seed', 'seeds', 'state', 'split_note', 'tags'),
)
_HIGHEST_FIRST = (
  *('train_examples', 'validation_examples', 'test_examples', 'val_accuracy', 'test_accuracy'),
  *('best_val_accuracy', 'val_map', 'test_map', 'epochs', 'images_per_second', 'n'),
)
# Column -> whether the best is the highest.
COLUMNS: Mapping[str, bool] = {
  **dict.fromkeys(_LOWEST_FIRST, False),
  **dict.fromkeys(_HIGHEST_FIRST, True),
  **dict.fromkeys(_INTERVALS, False),
}
DEFAULT_COLUMNS = (
  *('run', 'n', 'data', 'val_accuracy', 'val_accuracy_interval', 'val_loss', 'test_accuracy'),
  *('parameters', 'macs', 'epochs', 'seconds', 'images_per_second', 'state', 'split_note', 'tags'),
)
Row = dict[str, Any]


def find_runs(folders: Sequence[pathlib.Path]) -> list[pathlib.Path]:
  """The runs among folders and, some levels down, in them; none is looked for inside a run.

  Raises:
    UserError: a folder is none and holds none.
  """
  runs: list[pathlib.Path] = []
  for folder in folders:
    if not os.path.isdir(folder):
      raise UserError(f'{folder} does not exist; give folders of runs, or the folder around them')
    found = list(_runs_below(folder, DEPTH))
    if not found:
      raise UserError(f'{folder} is not the folder of a run and holds none')
    runs += found
  return without_links(runs)


def without_links(paths: Sequence[pathlib.Path]) -> list[pathlib.Path]:
  """Each place once, in the order of the paths: by its own name where it can also be reached by
  links, as a run to which `latest` leads.
  """
  places: dict[str, list[pathlib.Path]] = {}
  for path in dict.fromkeys(paths):
    places.setdefault(os.path.realpath(path), []).append(path)
  return [
    min(several, key=lambda path: (path.name != os.path.basename(place), len(path.parts)))
    for place, several in places.items()
  ]


def _runs_below(folder: pathlib.Path, depth: int) -> Iterator[pathlib.Path]:
  if os.path.isfile(folder / configs.CONFIG_NAME):
    yield folder
    return
  try:
    inner = sorted(folder.iterdir()) if depth else []
  except OSError:  # it went in the meantime, or may not be read
    return
  for path in inner:
    if not path.name.startswith('.') and os.path.isdir(path):
      yield from _runs_below(path, depth - 1)


def describe(run: pathlib.Path) -> Row:
  """The columns of a run, finished or not, and its `folder`; those not known are missing.

  Raises:
    UserError: a file of the run is damaged.
  """
  finished = run_files.read_summary(run)
  about = run_files.read_about(run)
  config = configs.read(run)
  rows = shown_rows(run)
  validated = [row for row in rows if not math.isnan(row['val_accuracy'])]
  found: Row = {
    'folder': run,  # no column: what tells runs of one name apart
    'run': _name(run),
    'system': groups.system(run, config),  # no column either: that of runs which differ in the seed
    'seed': config.get('seed'),
    'data': config.data.name,
    'tags': ' '.join(tags(config)),
    'epochs': len(rows),
    'state': f'{len(rows)} of {config.epochs}',
    **{name: about[name] for name in COLUMNS if name in about},
  }
  if rows:
    found['seconds'] = sum(row['epoch_seconds'] for row in rows)
  if speed := images_per_second(rows):
    found['images_per_second'] = speed
  if validated:
    best = max(validated, key=lambda row: row['val_accuracy'])
    found |= {
      name: validated[-1][name]
      for name in ('val_accuracy', 'val_loss', 'val_map')
      if name in validated[-1]
    }
    found |= {'best_val_accuracy': best['val_accuracy'], 'best_epoch': int(best['epoch'])}
  if model_folder.is_model_folder(run):
    found |= {'state': 'weights', **facts.measured_on_test(run)}
  if finished and finished.get('epochs') == config.epochs:
    kept = ('epochs', 'tags')  # of the config
    found |= {name: finished[name] for name in COLUMNS if name in finished and name not in kept}
    found['state'] = 'finished'
  return found


def _name(run: pathlib.Path) -> str:
  if groups.is_seed_folder(run):  # which says little alone
    return f'{run.resolve().parent.name}/{run.name}'
  return run.name or str(run)


def tags(config: ConfigDict) -> list[str]:
  """The tags of a config without names of other data sets than its own: a config for CIFAR-10 that
  was given other data on the command line still has that tag.
  """
  others = set(KNOWN_NAMES) - {config.data.name}
  return [tag for tag in config.get('tags', ()) if tag not in others]


def told_apart(rows: Sequence[Row]) -> list[Row]:
  """The rows with `data` such that two runs have the same if they are on the same data.

  That is the name of the data set; where runs on data of one name differ in the number of images,
  or in what else `data.identity.fingerprint` sees, that is said too. Old runs that do not say what
  they were trained on are listed by what they do say.
  """
  names = [str(row.get('data')) for row in rows]
  for facet in (_examples, _short_fingerprint):
    known: dict[str, set[str]] = {}
    facts = [facet(row) for row in rows]
    for name, fact in zip(names, facts, strict=True):
      known.setdefault(name, set()).update({fact} - {''})
    names = [
      f'{name} ({fact or "not known"})' if len(known[name]) > 1 else name
      for name, fact in zip(names, facts, strict=True)
    ]
  return [{**row, 'data': name} for row, name in zip(rows, names, strict=True)]


def named_apart(rows: Sequence[Row]) -> list[Row]:
  """The rows with names such that no two runs have the same: those that do, as trials of two
  studies, are called by as much of their paths as tells them apart.
  """
  paths = [row['folder'].resolve() for row in rows]
  names = [str(row['run']) for row in rows]
  depth = 2
  while any(names.count(name) > 1 for name in names):
    longer = [
      pathlib.Path(*path.parts[-depth:]).as_posix() if names.count(name) > 1 else name
      for name, path in zip(names, paths, strict=True)
    ]
    if depth > max(len(path.parts) for path in paths):
      break  # the same run twice
    names, depth = longer, depth + 1
  return [{**row, 'run': name} for row, name in zip(rows, names, strict=True)]


def _examples(row: Row) -> str:
  """'50,000 + 10,000': images to train on and to hold out, and test images; '' if not known."""
  train, validation, test = (
    row.get(f'{name}_examples') for name in ('train', 'validation', 'test')
  )
  if train is None or validation is None or test is None:
    return ''
  split_note = row.get('split_note') or ''
  if 'validation used as test' in split_note:
    return f'{train + validation:,}'
  return f'{train if "test used as validation" in split_note else train + validation:,} + {test:,}'


def _short_fingerprint(row: Row) -> str:
  return (row.get('data_fingerprint') or '')[:4]


def ordered(rows: Sequence[Row], column: str, ascending: bool | None = None) -> list[Row]:
  """Rows by a column, the best first unless `ascending` says how; rows that lack it come last.

  Runs on different data, whose numbers are not comparable, do not mix: each data set's runs stand
  together.

  Raises:
    UserError: there is no such column.
  """
  check_columns([column])
  descending = COLUMNS[column] if ascending is None else not ascending
  present = [row for row in rows if row.get(column) is not None]
  missing = [row for row in rows if row.get(column) is None]
  found = sorted(present, key=lambda row: row[column], reverse=descending) + missing
  return sorted(found, key=lambda row: row.get('data') or '')


def check_columns(names: Sequence[str]) -> None:
  """Raises UserError, with the right name if it can be told, if a column is unknown."""
  for name in names:
    if name in configs.RENAMED_RESULTS:
      new = configs.RENAMED_RESULTS[name]
      raise UserError(f'there is no column {name!r}; it is now called {new!r}')
    if name not in COLUMNS:
      raise UserError(f'there is no column {name!r}{did_you_mean(name, COLUMNS)}')


def cell(name: str, value: Any) -> str:
  """A value as people read it."""
  if value is None:
    return ''
  if groups.is_share(name):
    return f'{100 * value:.2f} %'
  if name.endswith('loss'):
    return f'{value:.4f}'
  if name == 'seconds':
    return duration(value)
  if isinstance(value, int | float) and name != 'seed':
    return f'{value:,.0f}'
  return str(value)


def text_of(row: Row, name: str) -> str:
  """A column of a row as people read it: of several runs the mean and the standard deviation, and
  how many have the number if not all.
  """
  measured = name.removesuffix(_INTERVAL)
  if name in _INTERVALS:
    low, high = row.get(f'{measured}_low', math.nan), row.get(f'{measured}_high', math.nan)
    if math.isnan(low):
      return ''
    return f'{cell(measured, low).removesuffix(" %")} to {cell(measured, high)}'
  text, sd = cell(name, row.get(name)), row.get(f'{name}_sd', math.nan)
  fewer = f' (n {row[f"{name}_n"]})' if f'{name}_n' in row else ''
  if math.isnan(sd) or not text:
    return f'{text}{fewer}'
  spread = cell(name, sd)
  percent = ' %' if text.endswith(' %') else ''
  return f'{text.removesuffix(" %")} ± {spread.removesuffix(" %")}{percent}{fewer}'


def as_text(rows: Sequence[Row], columns: Sequence[str]) -> str:
  """A table for the terminal; columns that no row fills are left out."""
  columns = _filled(rows, columns)
  cells = [[name.replace('_', ' ') for name in columns]]
  cells += [[text_of(row, name) for name in columns] for row in rows]
  widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
  lines = [
    '  '.join(
      text.ljust(width) if _is_text(name) else text.rjust(width)
      for name, text, width in zip(columns, line, widths, strict=True)
    ).rstrip()
    for line in cells
  ]
  for index in reversed(range(1, len(rows))):
    if rows[index].get('data') != rows[index - 1].get('data'):
      lines.insert(index + 1, '')  # between data sets
  return '\n'.join(lines)


def as_markdown(rows: Sequence[Row], columns: Sequence[str]) -> str:
  """A table for READMEs."""
  columns = _filled(rows, columns)
  lines = [
    f'| {" | ".join(name.replace("_", " ") for name in columns)} |',
    f'|{"|".join("---" if _is_text(name) else "---:" for name in columns)}|',
  ]
  for row in rows:
    texts = [text_of(row, name).replace('|', '\\|') for name in columns]
    lines.append(f'| {" | ".join(texts)} |')
  return '\n'.join(lines)


def as_csv(rows: Sequence[Row], columns: Sequence[str]) -> str:
  """Plain numbers for programs."""
  columns = _numbers(rows, columns)
  buffer = io.StringIO()
  writer = csv.DictWriter(buffer, columns, extrasaction='ignore', lineterminator='\n')
  writer.writeheader()
  writer.writerows(rows)
  return buffer.getvalue().rstrip('\n')


def as_json(rows: Sequence[Row], columns: Sequence[str]) -> str:
  """A list of objects; what is not known is null."""
  columns = _numbers(rows, columns)
  known = [{name: _known(row.get(name)) for name in columns} for row in rows]
  return json.dumps(known, indent=2)


def _filled(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
  return [name for name in columns if any(text_of(row, name) for row in rows)]


def _numbers(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
  """The columns for programs: after what was measured of several runs its spread and interval,
  and how many have it if not all.
  """
  found: list[str] = []
  for name in columns:
    if name not in _INTERVALS:
      found.append(name)
    parts = [f'{name.removesuffix(_INTERVAL)}_{part}' for part in ('n', 'sd', 'low', 'high')]
    found += [part for part in parts if part not in found and any(part in row for row in rows)]
  return found


def _known(value: Any) -> Any:
  return None if isinstance(value, float) and math.isnan(value) else value


def _is_text(name: str) -> bool:
  return name in ('run', 'data', 'data_fingerprint', 'seeds', 'state', 'split_note', 'tags')
