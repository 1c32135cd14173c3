"""The README's table: what was measured of the systems that people ask for first.

  python -m benchmarks claims

Recipes of time come from results/time_to_accuracy.csv, in seconds from the start of the process;
runs of the articles' networks from results/reproduction.csv, in minutes from the first step.
"""

import argparse
import importlib
from collections.abc import Sequence
from typing import Any

from benchmarks import tables
from cifar_jax.commands import parsing

README = tables.RESULTS.parent / 'README.md'
_TABLE = 'claims'  # its name in the marks around it
# Config, and what the devices' column holds.
_RECIPES = (
  *(('fast83', 'cpu'), ('fast90', 'cpu'), ('fast94', 'cpu')),
  *(('speedrun94', 'H200'), ('airbench94', 'H200')),
)
_PUBLISHED = {'speedrun94': '94.01 %', 'airbench94': '94.01 %'}  # means of their papers
_SAME = ('overrides', 'xla_flags', 'devices', 'processor')  # in rows of one measurement
# Systems, for the complete row on CPU that has the most seeds.
_NETWORKS = ('lr', 'mlp', 'cnn_simple', 'cnn_adv', 'episode2', 'p5_dcnn')

Row = dict[str, str]


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parsing.add_verb(verbs, 'claims', run, "the README's table", __doc__)


def run(_: argparse.Namespace) -> None:
  """Writes the README's table."""
  tables.replace_in(README, _TABLE, markdown())


def markdown() -> str:
  """The table."""
  timed = tables.read(tables.RESULTS / 'time_to_accuracy.csv')
  reproduced = tables.read(tables.RESULTS / 'reproduction.csv')
  head = (
    '| config | published | here, test accuracy | n | time | on |',
    '|---|---:|---:|---:|---:|---|',
  )
  lines = [_recipe(timed, *each) for each in _RECIPES]
  return '\n'.join([*head, *lines, *(_network(reproduced, name) for name in _NETWORKS)])


def _recipe(timed: Sequence[Row], name: str, device: str) -> str:
  """The line of a recipe: the newest measurement, which stands last, of as many seeds as it has."""
  found = [r for r in timed if r['config'] == f'configs/{name}.py' and device in r['devices']]
  newest = [found[-1][column] for column in _SAME]
  rows = [r for r in found if [r[column] for column in _SAME] == newest]
  accuracy = tables.mean_and_deviation([100 * float(row['test_accuracy']) for row in rows], 2)
  seconds = tables.mean_and_deviation([float(row['seconds']) for row in rows], 1)
  published = _PUBLISHED.get(name, '')
  config = importlib.import_module(f'configs.{name}').get_config()
  note = ' ¹' if config.data.validation == 'test' else ''
  where = rows[0]['processor'] if device == 'cpu' else f'one NVIDIA {device}'
  return f'| `{name}` | {published} | {accuracy} %{note} | {len(rows)} | {seconds} s | {where} |'


def _network(reproduced: Sequence[Row], system: str) -> str:
  """The line of an article's network, trained for as many epochs as there."""
  complete = [
    row
    for row in reproduced
    if (row['system'], row['options'], row['our_epochs']) == (system, '', row['epochs'])
    and 'NVIDIA' not in row['our_hardware']
  ]
  row = max(complete, key=lambda row: int(row['n']))
  deviation = f' ± {row["our_std"]}' if row['our_std'] else ''
  seconds = float(row['our_seconds'])
  time = f'{seconds:.0f} s' if seconds < 120 else f'{seconds / 60:.0f} min'
  note = '' if row['measured_on'] == 'test' else ' ¹'
  return (
    f'| `{system}` | {row["claim"]} | {row["our_accuracy"]}{deviation} %{note} | {row["n"]} '
    f'| {time} ² | {row["our_hardware"]} |'
  )
