"""Gathers finished runs on photographs into results/photographs.csv and sums up their seeds.

  python -m benchmarks.photographs runs/scratch0 runs/scratch1 runs/scratch2 ...

Runs that differ in nothing but the seed, and in the run they start from, are one system. Prints a
table of the systems: mean and standard deviation over the seeds.
"""

import csv
import json
import pathlib
import re
import statistics
import sys
from collections.abc import Mapping, Sequence

from benchmarks.workers import processor
from cifar_jax.run_dir.run_files import SUMMARY

TABLE = pathlib.Path(__file__).parent.parent / 'results' / 'photographs.csv'
COPIED = (
  'seed',
  'train_examples',
  'validation_examples',
  'val_accuracy',
  'val_loss',
  'best_val_accuracy',
  'epochs',
  'last_epoch',
  'steps',
  'seconds',
  'images_per_second',
  'waiting_share',
  'parameters',
  'jax',
)
COLUMNS = ('config', 'options', *COPIED, 'machine')
# Options that do not make another system: where things lie, and the seed.
_PLACES = re.compile(r'--(workdir|progress|config\.(data\.dir|start_from|seed))(=|$)')


def row_of(summary: Mapping[str, object]) -> dict[str, str]:
  """The line of a run's summary.json; the folders of this machine are left out."""
  words = str(summary['command']).split()
  (config,) = [pathlib.Path(w.partition('=')[2]).stem for w in words if w.startswith('--config=')]
  options = [word for word in words if word.startswith('--config.') and not _PLACES.match(word)]
  copied = {name: summary.get(name, '') for name in COPIED}  # older summaries lack some
  return {
    'config': config,
    'options': ' '.join(options),
    **{
      name: f'{value:.6g}' if isinstance(value, float) else str(value)
      for name, value in copied.items()
    },
    'machine': processor(),
  }


def markdown(rows: Sequence[Mapping[str, str]]) -> str:
  """A line for each system: how many seeds, its validation accuracy and its epochs."""
  systems: dict[tuple[str, str], list[Mapping[str, str]]] = {}
  for row in rows:
    systems.setdefault((row['config'], row['options']), []).append(row)
  lines = ['| config | n | validation accuracy | epochs |', '|---|---:|---:|---:|']
  for (config, options), runs in systems.items():
    accuracies = [100 * float(run['val_accuracy']) for run in runs]
    deviation = f' ± {statistics.stdev(accuracies):.2f}' if len(runs) > 1 else ''
    epochs = sorted({int(run['last_epoch']) for run in runs})
    span = f'{epochs[0]} to {epochs[-1]}' if len(epochs) > 1 else str(epochs[0])
    name = f'`{config}`' + (f' `{options}`' if options else '')
    lines.append(
      f'| {name} | {len(runs)} | {statistics.fmean(accuracies):.2f}{deviation} % | {span} |'
    )
  return '\n'.join(lines)


def main(runs: Sequence[str]) -> None:
  """Writes the table anew from the runs given, and prints it."""
  rows = [row_of(json.loads((pathlib.Path(run) / SUMMARY).read_text())) for run in runs]
  with TABLE.open('w', newline='') as file:
    writer = csv.DictWriter(file, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
  print(markdown(rows))


if __name__ == '__main__':
  main(sys.argv[1:])
