"""How long a config takes to its accuracy: several seeds, each in a process of its own.

  python benchmarks/time_to_accuracy.py --config=configs/fast83.py --runs=5
  python benchmarks/time_to_accuracy.py --config=configs/fast83.py --target=0.83 \
    --config.optimizer.learning_rate=0.8

Seconds run from the start of the process to its end: imports, reading the data, compilation,
training and the evaluation of the test set included. Programs compiled by an earlier process are
kept in the user's cache; --cold gives every process an empty one. CPU seconds are those of all
threads, and say less about the load of the machine. Operations are those of training, six for each
multiply-add of an image's forward pass.

Results are appended to results/time_to_accuracy.csv.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from benchmarks import tables  # noqa: E402

COLUMNS = (
  'config',
  'overrides',
  'seed',
  'test_accuracy',
  'seconds',
  'cpu_seconds',
  'compile_seconds',
  'steps',
  'batch_size',
  'parameters',
  'operations',
  'cold',
  'load',
  'devices',
  'processor',
  'jax',
  'xla_flags',
)


def main(argv: Sequence[str] | None = None) -> None:
  """Trains with seeds 0, 1, ..., prints a line for each and the mean, appends to the CSV."""
  arguments, overrides = _parse(argv)
  operations = _operations_per_step(arguments.config, overrides)
  rows = []
  for seed in range(arguments.first_seed, arguments.first_seed + arguments.runs):
    row = _run(arguments, overrides, seed, operations)
    rows.append(row)
    tables.append(arguments.csv, [{key: row[key] for key in COLUMNS}])
    print(
      f'seed {seed}  accuracy {100 * row["test_accuracy"]:6.2f} %  {row["seconds"]:7.1f} s  '
      f'CPU {row["cpu_seconds"]:7.1f} s  {row["steps"]} steps  '
      f'{row["operations"] / 1e12:.4g} TFLOP  load {row["load"]:.1f}',
      flush=True,
    )
  accuracies = [100 * row['test_accuracy'] for row in rows]
  print(
    f'mean of {len(rows)}: accuracy {_mean_and_deviation(accuracies, 2)} %, '
    f'{_mean_and_deviation([row["seconds"] for row in rows], 1)} s from the start of the process, '
    f'CPU {_mean_and_deviation([row["cpu_seconds"] for row in rows], 1)} s'
  )
  if arguments.target is not None:
    reached = sum(accuracy >= 100 * arguments.target for accuracy in accuracies)
    mean = statistics.fmean(accuracies)
    verdict = 'reached' if mean >= 100 * arguments.target else 'missed'
    print(f'{100 * arguments.target:g} %: {verdict} by the mean, {reached} of {len(rows)} runs')


def _parse(argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
  )
  parser.add_argument('--config', required=True, metavar='FILE', help='path of the config file')
  parser.add_argument('--runs', type=int, default=5, help='number of seeds; default: 5')
  parser.add_argument('--first_seed', type=int, default=0)
  parser.add_argument('--target', type=float, help='accuracy to compare with, as in 0.83')
  parser.add_argument('--cold', action='store_true', help='compile everything in every process')
  parser.add_argument(
    '--csv', type=pathlib.Path, default=REPOSITORY / 'results' / 'time_to_accuracy.csv'
  )
  arguments, rest = parser.parse_known_args(argv)
  unknown = [argument for argument in rest if not re.match(r'--?(no)?config\.', argument)]
  if unknown:
    parser.error(f'unrecognised: {" ".join(unknown)}')
  return arguments, rest


def _run(
  arguments: argparse.Namespace, overrides: Sequence[str], seed: int, operations: float
) -> dict[str, Any]:
  """Trains once in a fresh process and folder; what it says on stderr goes to the terminal."""
  load = os.getloadavg()[0]
  with tempfile.TemporaryDirectory(prefix='time_to_accuracy_') as folder:
    environment = dict(os.environ)
    if arguments.cold:
      environment['CIFAR_JAX_CACHE'] = f'{folder}/cache'
    command = [
      *(sys.executable, str(REPOSITORY / 'launch.py'), f'--config={arguments.config}'),
      *(f'--workdir={folder}/run', '--progress=silent', *overrides, f'--config.seed={seed}'),
    ]
    before = os.times()
    start = time.perf_counter()
    process = subprocess.run(command, env=environment)
    seconds = time.perf_counter() - start
    after = os.times()
    if process.returncode:
      sys.exit(f'{" ".join(command)} ended with status {process.returncode}')
    summary = json.loads(pathlib.Path(folder, 'run', 'summary.json').read_text())
  return {
    'config': arguments.config,
    'overrides': ' '.join(overrides),
    'seed': seed,
    'seconds': seconds,
    'cpu_seconds': after.children_user
    + after.children_system
    - before.children_user
    - before.children_system,
    'operations': operations * summary['steps'],
    'cold': arguments.cold,
    'load': load,
    **{key: summary[key] for key in COLUMNS if key in summary and key not in ('seconds',)},
  }


def _operations_per_step(path: str, overrides: Sequence[str]) -> float:
  """Floating-point operations of one training step on images of CIFAR's size."""
  from cifar_jax import models
  from cifar_jax.analysis import flops
  from cifar_jax.config import parse as configs

  config = configs.load(path, overrides)
  module = models.create(config.model, num_classes=10)
  return flops.TRAINING * flops.multiply_adds(module, (32, 32, 3)) * config.batch_size


def _mean_and_deviation(values: Sequence[float], digits: int) -> str:
  deviation = f' ± {statistics.stdev(values):.{digits}f}' if len(values) > 1 else ''
  return f'{statistics.fmean(values):.{digits}f}{deviation}'


if __name__ == '__main__':
  main()
