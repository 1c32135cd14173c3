"""What the articles report beside what our runs reached: results/reproduction.csv, and the table of
docs/reproduced.md.

  python -m benchmarks collect runs/lr runs/lr_seed1   # finished runs into results/runs.csv
  python -m benchmarks reproduction                    # joins them with results/published.csv

A run counts for a system if its command line changed nothing but the epochs, the seed, the devices
and what does not touch the arithmetic; several seeds of as many epochs on the same hardware and in
the same precision become one row, with mean and standard deviation. A longer run counts up to the
epoch of a figure if its curve has the test accuracy there and its rate does not depend on its
length, as that of a schedule may. If no run is as long as the published one, the row has the
longest shorter run with its own number of epochs; if there is none, the row says so. Nothing is
estimated.
"""

import argparse
import pathlib
import re
import shlex
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import tables
from cifar_jax.commands import parsing
from cifar_jax.config import NEUTRAL

PAGE = tables.RESULTS.parent / 'docs' / 'reproduced.md'
_TABLE = 'reproduction'  # its name in the marks around it
_PRECISION = 'model.dtype='
_OURS = (
  *('our_epochs', 'n', 'our_accuracy', 'our_std', 'our_seconds', 'our_hardware', 'our_precision'),
  'our_command',
)

Row = dict[str, str]


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parsing.add_verb(verbs, 'reproduction', run, 'articles beside our runs', __doc__)


def run(_: argparse.Namespace) -> None:
  """Writes results/reproduction.csv and the page's table."""
  update(tables.RESULTS, PAGE)


def system_of(command: str, ignored: Sequence[str] = (*NEUTRAL, _PRECISION)) -> tuple[str, str]:
  """The system of a command line, and those of its options that make it another system.

  Args:
    command: A command line of launch.py, 'launch.py --config=configs/lr.py --config.seed=1'.
    ignored: How the options begin that do not make another system.

  Returns:
    The config's name and the other options, sorted and joined by blanks.
  """
  name, options = '', []
  for word in shlex.split(command):
    if match := re.fullmatch(r'--config=(?:.*/)?(\w+)(?:\.py)?', word):
      name = match[1]
    elif word.startswith('--config.'):
      options += [] if word.removeprefix('--config.').startswith(tuple(ignored)) else [word]
  return name, ' '.join(sorted(options))


def precision_of(command: str) -> str:
  """'float32', or what the command line asks for."""
  prefix = f'--config.{_PRECISION}'
  words = [word for word in shlex.split(command) if word.startswith(prefix)]
  return words[-1].removeprefix(prefix) if words else 'float32'


def hardware_of(run: Row) -> str:
  """'NVIDIA H100, then AMD EPYC, 2 cores': on what a run of runs.csv was trained."""
  names = []
  for session in run['devices'].split(', then '):
    match = re.fullmatch(r'(\d+) (\w+) devices?.* \((.*)\)', session)
    if not match:
      raise ValueError(f'runs.csv: {run["run"]}: no devices in {session!r}')
    count, platform, kind = match.groups()
    name = run['processor'] if platform == 'cpu' else kind
    names.append(name if platform == 'cpu' or count == '1' else f'{count} x {name}')
  return ', then '.join(names)


def cut(runs: Sequence[Row], lengths: Sequence[int], curves: pathlib.Path) -> list[Row]:
  """The runs, and what longer ones were when they had trained for so many epochs.

  Args:
    runs: Lines of runs.csv.
    lengths: Epochs of published figures.
    curves: Folder with NAME.csv for each run.
  """
  found = list(runs)
  for run in runs:
    shorter = {length for length in lengths if length < int(run['epochs'])}
    scheduled = '--config.schedule.' in run['command']
    if not shorter or scheduled or run.get('split_note') != 'test used as validation':
      continue
    epochs = tables.read(curves / f'{run["run"]}.csv')
    for length in sorted(shorter & {int(epoch['epoch']) for epoch in epochs}):
      until = [epoch for epoch in epochs if int(epoch['epoch']) <= length]
      seconds = sum(float(epoch['epoch_seconds']) for epoch in until)
      accuracy = until[-1]['val_accuracy']
      parts = {'epochs': str(length), 'test_accuracy': accuracy, 'seconds': str(seconds)}
      found.append({**run, **parts})
  return found


def join(published: Sequence[Row], runs: Sequence[Row]) -> list[Row]:
  """Rows for each published figure, one for each hardware and precision, with the runs of that
  system that come nearest to it.
  """
  systems: defaultdict[tuple[str, str], defaultdict[tuple[str, str], dict[int, list[Row]]]]
  systems = defaultdict(lambda: defaultdict(dict))
  for run in runs:
    way = hardware_of(run), precision_of(run['command'])
    lengths = systems[system_of(run['command'])][way]
    lengths.setdefault(int(run['epochs']), []).append(run)
  rows = []
  taken = set()
  for row in published:
    system = row['system'], row['options']
    found = []
    for way, lengths in systems[system].items():
      length = max((epochs for epochs in lengths if epochs <= int(row['epochs'])), default=0)
      # A short run stands beside the first figure that it does not reach, not beside all of them.
      if length and (system, way, length) not in taken:
        taken.add((system, way, length))
        found.append({**row, **_ours(lengths[length], *way)})
    rows += found or [{**row, **dict.fromkeys(_OURS, '')}]
  return rows


def _ours(runs: Sequence[Row], hardware: str, precision: str) -> Row:
  accuracies = [100 * float(run['test_accuracy']) for run in runs]
  seconds = [float(run['seconds']) for run in runs]
  return {
    'our_epochs': runs[0]['epochs'],
    'n': str(len({run['seed'] for run in runs})),
    'our_accuracy': f'{statistics.mean(accuracies):.2f}',
    'our_std': f'{statistics.stdev(accuracies):.2f}' if len(runs) > 1 else '',
    'our_seconds': f'{statistics.mean(seconds):.0f}',
    'our_hardware': hardware,
    'our_precision': precision,
    'our_command': min((run['command'] for run in runs), key=len),
  }


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
  """The page's table."""
  lines = [
    '| system | article | published | in | on | ours | epochs | n | in at most | measured on |',
    '|---|---|---:|---:|---|---:|---:|---:|---:|---|',
  ]
  for row in rows:
    accuracy = f'{row["our_accuracy"]} %' if row['n'] else 'not run'
    if row['our_std']:
      accuracy = f'{row["our_accuracy"]} ± {row["our_std"]} %'
    complete = row['our_epochs'] in ('', row['epochs'])
    epochs = row['epochs'] if complete else f'{row["our_epochs"]} of {row["epochs"]}'
    if row['n'] and row['our_precision'] != 'float32':
      accuracy += f' in {row["our_precision"]}'
    time = f'{int(row["our_seconds"]):,} s' if row['our_seconds'] else ''
    name = ' '.join([f'`{row["system"]}`', *row['options'].split()])
    lines.append(
      f'| {name} | {row["article"]} | {row["claim"]} | {row["time"]} | {row["hardware"]} '
      f'| {accuracy} | {epochs} | {row["n"]} | {time} | {row["our_hardware"]} |'
    )
  return '\n'.join(lines)


def update(results: pathlib.Path, page: pathlib.Path) -> None:
  """Writes reproduction.csv in a folder like results/, and the table of a page."""
  published = tables.read(results / 'published.csv')
  lengths = [int(row['epochs']) for row in published]
  rows = join(published, cut(tables.read(results / 'runs.csv'), lengths, results / 'curves'))
  tables.write(results / 'reproduction.csv', rows)
  tables.replace_in(page, _TABLE, markdown(rows))
