"""Gathers finished runs into tables in results/: one row per run.

  python -m benchmarks collect runs/lr runs/mlp runs/cnn_adv
  python -m benchmarks collect --table=photographs runs/scratch0 runs/scratch1 runs/scratch2

The table `runs` holds runs on CIFAR-10 by the names of their folders, and their curves are kept in
curves/NAME.csv; `photographs` holds runs on photographs by config, options and seed, and is printed
as mean and standard deviation over the seeds of each system. Runs that differ in nothing but the
seed, where things lie and the run they start from are one system. A run that is there already is
replaced. The commits are those in a run's log, FOLDER.log, where `queue` has trained it.
"""

import argparse
import itertools
import operator
import pathlib
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks import tables
from benchmarks.results.reproduction import system_of
from cifar_jax.commands import parsing
from cifar_jax.utils import locks
from cifar_jax.utils.errors import UserError

COLUMNS = {
  'runs': (
    *(
      'run',
      'test_accuracy',
      'test_loss',
      'best_val_accuracy',
      'best_epoch',
      'split_note',
      'epochs',
    ),
    *('seed', 'seconds', 'compile_seconds', 'images_per_second', 'peak_memory_mb', 'parameters'),
    *('processor', 'devices', 'jax', 'xla_flags', 'commit', 'command'),
  ),
  'photographs': (
    *('config', 'options', 'seed', 'train_examples', 'validation_examples', 'val_accuracy'),
    *('val_loss', 'best_val_accuracy', 'epochs', 'last_epoch', 'steps', 'seconds'),
    *('images_per_second', 'input_bound_fraction', 'parameters', 'jax', 'machine'),
  ),
}
_KEYS = {'runs': ('run',), 'photographs': ('config', 'options', 'seed')}  # what tells rows apart
# Options of a config that do not make another system.
_PLACES = ('data.dir', 'init_from', 'start_from', 'seed')  # the third of older commands


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parser = parsing.add_verb(verbs, 'collect', run, 'finished runs into a table', __doc__)
  parsing.add_options(parser, 'runs')
  parser.add_argument(
    '--table', choices=tuple(COLUMNS), default='runs', help='which to add to; default: runs'
  )


def run(arguments: argparse.Namespace) -> None:
  """Adds the runs to the table."""
  rows = collect(arguments.runs, arguments.table)
  if arguments.table == 'photographs':
    print(markdown(rows))


def collect(
  runs: Sequence[pathlib.Path], table: str, results: pathlib.Path = tables.RESULTS
) -> list[dict[str, str]]:
  """Adds finished runs to a table and returns its rows, sorted.

  Raises:
    UserError: one of the runs has no summary yet, or a damaged one; nothing is written then.
  """
  from cifar_jax.run_dir import run_files
  from cifar_jax.run_dir.history import CSV_NAME

  key = key_of(table)
  path = results / f'{table}.csv'
  new = {}
  for run in runs:
    if not (summary := run_files.read_summary(run)):
      raise UserError(f'{run} has no {run_files.SUMMARY}: it is no finished run')
    if table == 'runs':  # as many epochs as were trained, not as many as the config would allow
      epochs = tables.read(run / CSV_NAME)
      if not epochs or not epochs[-1].get('epoch'):
        raise UserError(f'{run / CSV_NAME} has no epoch: the file is damaged')
      summary['epochs'] = epochs[-1]['epoch']
      summary['commit'] = ', then '.join(_commits(run.with_name(f'{run.name}.log')))
    row = row_of(run.name, summary, table)
    new[key(row)] = row
  results.mkdir(parents=True, exist_ok=True)
  with locks.locked(results / '.lock', lambda: None):  # another process may add rows, too
    rows = {key(row): row for row in tables.read(path)} | new
    found = [rows[name] for name in sorted(rows)]
    tables.write(path, found)
  if table == 'runs':
    (results / 'curves').mkdir(exist_ok=True)
    for run in runs:
      shutil.copy(run / CSV_NAME, results / 'curves' / f'{run.name}.csv')
  return found


def key_of(table: str) -> Callable[[Mapping[str, str]], Any]:
  """What tells the rows of a table apart, as a function of a row."""
  return operator.itemgetter(*_KEYS[table])


def row_of(name: str, summary: Mapping[str, Any], table: str) -> dict[str, str]:
  """The row of a run; the folders of this machine are left out, and what an old summary lacks is
  empty.
  """
  config, options = system_of(summary['command'], _PLACES)
  # The command as anyone would type it.
  words = [w for w in summary['command'].split() if not w.startswith('--workdir')]
  here = {'run': name, 'config': config, 'options': options, 'machine': tables.processor()}
  values = {**summary, **here, 'command': ' '.join(words)}
  return {column: _text(values.get(column)) for column in COLUMNS[table]}


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
  """A line for each system on photographs: how many seeds, its validation accuracy, its epochs."""
  systems: dict[tuple[str, str], list[Mapping[str, str]]] = {}
  for row in rows:
    systems.setdefault((row['config'], row['options']), []).append(row)
  lines = ['| config | n | validation accuracy | epochs |', '|---|---:|---:|---:|']
  for (config, options), runs in systems.items():
    accuracy = tables.mean_and_deviation([100 * float(run['val_accuracy']) for run in runs], 2)
    epochs = sorted({int(run['last_epoch']) for run in runs})
    span = f'{epochs[0]} to {epochs[-1]}' if len(epochs) > 1 else str(epochs[0])
    name = f'`{config}`' + (f' `{options}`' if options else '')
    lines.append(f'| {name} | {len(runs)} | {accuracy} % | {span} |')
  return '\n'.join(lines)


def log_header(commit: str) -> str:
  """How a session begins in the log of a run, before its command."""
  return f'{time.strftime("%Y-%m-%d %H:%M:%S")} commit {commit}: '


def _commits(log: pathlib.Path) -> list[str]:
  """The commits of the sessions in a log, in order, equal ones in a row once; [] without a log."""
  text = log.read_text('utf-8', errors='replace') if log.exists() else ''
  found = re.findall(r'^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d commit (\S+): ', text, re.MULTILINE)
  return [commit for commit, _ in itertools.groupby(found)]


def _text(value: object) -> str:
  if value is None:
    return ''
  return f'{value:.6g}' if isinstance(value, float) else str(value)
