"""Gathers finished runs into results/: one line a run in runs.csv, its curve in curves/NAME.csv.

  python -m benchmarks.collect_runs runs/lr runs/mlp runs/cnn_adv

A run that is there already is replaced. Prints the README's table of the whole file.
"""

import csv
import json
import pathlib
import shutil
import sys
from collections.abc import Mapping, Sequence

from cifar_jax.run_dir.history import CSV_NAME
from cifar_jax.run_dir.run_files import SUMMARY

RESULTS = pathlib.Path(__file__).parent.parent / 'results'
COLUMNS = (
  'run',
  'test_accuracy',
  'test_loss',
  'best_val_accuracy',
  'best_epoch',
  'remark',
  'epochs',
  'seed',
  'seconds',
  'compile_seconds',
  'images_per_second',
  'peak_memory_mb',
  'parameters',
  'processor',
  'devices',
  'jax',
  'xla_flags',
  'command',
)


def collect(runs: Sequence[pathlib.Path], results: pathlib.Path = RESULTS) -> None:
  """Adds the runs to results/runs.csv and their curves to results/curves."""
  table = results / 'runs.csv'
  rows = {row['run']: row for row in read(table)}
  (results / 'curves').mkdir(parents=True, exist_ok=True)
  for run in runs:
    summary = json.loads((run / SUMMARY).read_text())
    rows[run.name] = {'run': run.name, **{name: _text(summary[name]) for name in COLUMNS[1:]}}
    # As many as were trained, not as many as the config would allow.
    rows[run.name]['epochs'] = read(run / CSV_NAME)[-1]['epoch']
    # The command as anyone would type it, not with the folders of one machine.
    words = summary['command'].split()
    rows[run.name]['command'] = ' '.join(w for w in words if not w.startswith('--workdir'))
    shutil.copy(run / CSV_NAME, results / 'curves' / f'{run.name}.csv')
  with table.open('w', newline='') as file:
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows(rows[name] for name in sorted(rows))


def read(table: pathlib.Path) -> list[dict[str, str]]:
  """The lines of runs.csv; [] before there are any."""
  if not table.exists():
    return []
  with table.open(newline='') as file:
    return list(csv.DictReader(file))


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
  """The table that the README shows."""
  lines = [
    '| run | epochs | test accuracy | time | images/s |',
    '|---|---:|---:|---:|---:|',
  ]
  for row in rows:
    lines.append(
      f'| `{row["run"]}` | {row["epochs"]} | {100 * float(row["test_accuracy"]):.2f} % '
      f'| {float(row["seconds"]):.0f} s | {_speed(row["images_per_second"])} |'
    )
  return '\n'.join(lines)


def _speed(text: str) -> str:
  return f'{float(text):,.0f}' if text else ''


def _text(value: object) -> str:
  if value is None:
    return ''
  return f'{value:.6g}' if isinstance(value, float) else str(value)


if __name__ == '__main__':
  collect([pathlib.Path(argument) for argument in sys.argv[1:]])
  print(markdown(read(RESULTS / 'runs.csv')))
