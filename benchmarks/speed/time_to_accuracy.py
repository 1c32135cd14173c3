"""How long a config takes to its accuracy: several seeds, each in a process of its own.

  python -m benchmarks time_to_accuracy --config=configs/fast83.py --runs=5
  python -m benchmarks time_to_accuracy --config=configs/fast83.py --target=0.83 \\
    --config.optimizer.learning_rate=0.8

Seconds run from the start of the process to its end: imports, reading the data, compilation,
training and the evaluation of the test set included. Programs compiled by an earlier process are
kept in the user's cache; --cold gives every process an empty one. CPU seconds are those of all
threads, and say less about the load of the machine. Operations are those of training, six for each
multiply-add of an image's forward pass. Rows are appended to the CSV file.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import psutil

from benchmarks import command_line, tables
from cifar_jax import config as configs
from cifar_jax.commands import parsing

COLUMNS = (
  *('config', 'overrides', 'seed', 'test_accuracy', 'seconds', 'cpu_seconds', 'compile_seconds'),
  *('steps', 'batch_size', 'parameters', 'operations', 'cold', 'load', 'devices', 'processor'),
  *('jax', 'xla_flags'),
)


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parser = parsing.add_verb(
    verbs, 'time_to_accuracy', run, 'accuracy and seconds of seeds', __doc__, takes_overrides=True
  )
  parsing.add_options(parser, '--config')
  count = command_line.number(int, 1)
  parser.add_argument('--runs', type=count, default=5, help='number of seeds; default: 5')
  parser.add_argument('--first_seed', type=int, default=0, help='the others follow; default: 0')
  parser.add_argument('--target', type=float, help='accuracy to compare with, as in 0.83')
  parser.add_argument('--cold', action='store_true', help='compile everything in every process')
  command_line.add_options(parser, out='time_to_accuracy')


def run(arguments: argparse.Namespace) -> None:
  """Trains with seeds 0, 1, ..., prints a line for each and the mean, appends to the table."""
  from cifar_jax import models
  from cifar_jax.analysis import flops

  config = configs.load(arguments.config, arguments.overrides)
  module = models.create(config.model, num_classes=10)
  # Of one step, on images of CIFAR's size.
  operations = flops.TRAINING * flops.macs(module, (32, 32, 3)) * config.batch_size
  rows = []
  for seed in range(arguments.first_seed, arguments.first_seed + arguments.runs):
    row = _train(arguments, seed, operations)
    rows.append(row)
    tables.append(arguments.out, [{key: row[key] for key in COLUMNS}])
    print(
      f'seed {seed}  accuracy {100 * row["test_accuracy"]:6.2f} %  {row["seconds"]:7.1f} s  '
      f'CPU {row["cpu_seconds"]:7.1f} s  {row["steps"]} steps  '
      f'{row["operations"] / 1e12:.4g} TFLOP  load {row["load"]:.1f}',
      flush=True,
    )
  accuracies = [100 * row['test_accuracy'] for row in rows]
  seconds, cpu_seconds = (
    tables.mean_and_deviation([row[name] for row in rows], 1) for name in ('seconds', 'cpu_seconds')
  )
  print(
    f'mean of {len(rows)}: accuracy {tables.mean_and_deviation(accuracies, 2)} %, '
    f'{seconds} s from the start of the process, CPU {cpu_seconds} s'
  )
  if arguments.target is not None:
    reached = sum(accuracy >= 100 * arguments.target for accuracy in accuracies)
    mean = statistics.fmean(accuracies)
    verdict = 'reached' if mean >= 100 * arguments.target else 'missed'
    print(f'{100 * arguments.target:g} %: {verdict} by the mean, {reached} of {len(rows)} runs')


def _train(arguments: argparse.Namespace, seed: int, operations: float) -> dict[str, Any]:
  """Trains once in a fresh process and folder; what it says on stderr goes to the terminal."""
  load = psutil.getloadavg()[0]
  with tempfile.TemporaryDirectory(prefix='time_to_accuracy_') as folder:
    cache = {'CIFAR_JAX_CACHE': f'{folder}/cache'} if arguments.cold else {}
    launch = str(tables.RESULTS.parent / 'launch.py')
    command = [
      *(sys.executable, launch, f'--config={arguments.config}', f'--workdir={folder}/run'),
      *('--progress=silent', *arguments.overrides, f'--config.seed={seed}'),
    ]
    before, start = os.times(), time.perf_counter()
    process = subprocess.run(command, env={**os.environ, **cache})
    seconds, after = time.perf_counter() - start, os.times()
    if process.returncode:
      sys.exit(f'{" ".join(command)} ended with status {process.returncode}')
    summary = json.loads(pathlib.Path(folder, 'run', 'summary.json').read_text('utf-8'))
  user = after.children_user - before.children_user
  return {
    **{key: summary[key] for key in COLUMNS if key in summary},
    'config': arguments.config,
    'overrides': ' '.join(arguments.overrides),
    'seed': seed,
    'seconds': seconds,
    'cpu_seconds': user + after.children_system - before.children_system,
    'operations': operations * summary['steps'],
    'cold': arguments.cold,
    'load': load,
  }
