"""Trains a config with several seeds, one run after the other: over how many runs is that number?

  python -m cifar_jax repeat --config=configs/cnn_simple.py --seeds=5

Each seed's run has its own folder, runs/cnn_simple_seeds/seed_0 and so on (--workdir names another
place for them), which is what launch.py leaves with that seed, to the last bit. A seed decides
which images are held out for validation, the first weights, the order of the images, augmentation
and dropout; all of that scatters the result, and the table that is printed after each run says how
much: the mean, the standard deviation, and the interval in which the mean of all such runs lies
with a probability of 95 %.

Ctrl-C and SIGTERM save and stop. The same line goes on, after kill -9 too, and with more --seeds it
adds to those that are there. One of them alone is

  python launch.py --config=configs/cnn_simple.py --config.seed=3 \\
      --workdir=runs/cnn_simple_seeds/seed_3

A seed that ends in NaN, or fails otherwise, is told of and the next one begins; the exit status is
then 1. Options of the config may follow, all but --config.seed:

  python -m cifar_jax repeat --config=configs/cnn_simple.py --seeds=0,3,7 --config.epochs=5

Afterwards two such folders are tested for a difference:

  python -m cifar_jax compare runs/cnn_simple_seeds runs/cnn_adv_seeds
"""

import argparse
import contextlib
import pathlib
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from cifar_jax.commands import parsing
from cifar_jax.startup import early_start, process
from cifar_jax.utils import cache, paths
from cifar_jax.utils.errors import UserError

MOST_SEEDS = 10_000
_LARGEST_SEED = 2**32 - 1


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'one config with several seeds: mean, deviation, interval'
  parser = parsing.add_verb(
    verbs, 'repeat', run, about, __doc__, takes_overrides=True, computes=True
  )
  parsing.add_options(parser, '--config')
  parser.add_argument(
    '--seeds', default='5', help='how many, or which, as in 0,3,7; default: 5', metavar='N'
  )
  parser.add_argument(
    '--first_seed', type=int, default=0, metavar='SEED', help='of --seeds=N; default: 0'
  )
  parser.add_argument(
    '--workdir',
    type=parsing.run_path,
    metavar='FOLDER',
    help='around the folders of the runs; default: runs/<config name>_seeds',
  )
  parsing.add_options(parser, '--progress')


def run(arguments: argparse.Namespace) -> None:
  """Trains the runs and prints their table."""
  seeds = read_seeds(arguments.seeds, arguments.first_seed)
  refuse_seed(arguments.overrides)
  process.outlive_readers()
  from cifar_jax import config as configs

  config = configs.load(arguments.config, arguments.overrides)
  early_start.start_accelerator()
  cache.warn_if_unwritable()
  from cifar_jax.report.epoch_images import EpochImages
  from cifar_jax.run_dir.progress import Progress
  from cifar_jax.trainer.loop import train
  from cifar_jax.trials import repeat

  name = configs.name_of(arguments.config)
  folder = arguments.workdir or paths.run_path(f'runs/{name}_seeds')
  runs = repeat.plan(config, folder, seeds)
  progress = Progress(arguments.progress)

  def train_one(config: Any, run: pathlib.Path, *rest: Any, **options: Any) -> dict[str, Any]:
    with _as_launched(arguments, config.seed, run):
      return train(config, run, *rest, **options)

  stopped = repeat.train_each(runs, progress, train_one, lambda config: [EpochImages(config)])
  if all(one.state == repeat.FINISHED and not one.seconds for one in runs):
    progress.note(f'all have finished\n\n{repeat.table(runs)}')
  if stopped:
    progress.note('stopped and saved; the same command goes on from there')
  else:
    progress.note(f'look at     python -m cifar_jax compare {folder} --each')
  if any(one.state == repeat.FAILED for one in runs):
    sys.exit(1)


def read_seeds(text: str, first: int) -> list[int]:
  """The seeds that '5', from `first` on, or '0,3,7' stand for.

  Raises:
    UserError: It stands for none.
  """
  usage = f'--seeds={text}: give a number of seeds, as 5, or the seeds, as 0,3,7'
  try:
    numbers = [int(part) for part in text.removesuffix(',').split(',')]
  except ValueError:
    raise UserError(usage) from None
  if ',' in text:
    if first:
      raise UserError(f'--first_seed={first} is for a number of seeds; --seeds={text} names them')
    if len(set(numbers)) < len(numbers):
      raise UserError(f'--seeds={text} names a seed twice, and the same run is no second one')
  elif not 0 < numbers[0] <= MOST_SEEDS:
    raise UserError(usage)
  else:
    numbers = [first + index for index in range(numbers[0])]
  if not all(0 <= number <= _LARGEST_SEED for number in numbers):
    raise UserError(f'--seeds={text} from {first}: seeds are numbers from 0 to {_LARGEST_SEED}')
  return numbers


def refuse_seed(overrides: Sequence[str]) -> None:
  """Raises UserError where an override sets the seed."""
  for override in overrides:
    if re.match(r'--?config\.seed(=|$)', override):
      raise UserError(f'{override}: --seeds and --first_seed say which seeds are trained')


@contextlib.contextmanager
def _as_launched(arguments: argparse.Namespace, seed: int, folder: pathlib.Path) -> Iterator[None]:
  """Lets the run's summary name the command that trains this run alone."""
  before = sys.argv
  flags = [f'--config={arguments.config}', *arguments.overrides, f'--config.seed={seed}']
  sys.argv = ['launch.py', *flags, f'--workdir={folder}']
  try:
    yield
  finally:
    sys.argv = before
