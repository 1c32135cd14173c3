"""Trains a config with several seeds, to show how much its results vary.

  python -m cifar_jax repeat --config=configs/cnn_simple.py --seeds=5

Each seed's run has its own folder, runs/cnn_simple_seeds/seed_0 and so on (--workdir names another
place for them), with the files that launch.py writes for that seed. A seed decides which images are
held out for validation, the initial weights, the order of the images, augmentation and dropout. The
table that is printed after each run says how much the result varies because of that: the mean, the
standard deviation, and the interval in which the mean of all such runs lies with a probability of
95 %.

Ctrl-C and SIGTERM save and stop. The same line continues, even after kill -9; with more --seeds, it
adds to the existing runs. To train one of them alone:

  python launch.py --config=configs/cnn_simple.py --config.seed=3 \\
      --workdir=runs/cnn_simple_seeds/seed_3

If that is faster, as on a GPU and for small networks, as many runs as fit into memory are trained
together in one program. The batches are those of launch.py, and the weights are the same up to
rounding. --together=no trains one run after the other and gives the same weights to the last bit.
--vary trains a group of seeds for each value of an option, each in a folder that names the value:

  python -m cifar_jax repeat --config=configs/lr.py --seeds=3 \\
      --vary=optimizer.learning_rate=1e-4,1e-3,1e-2

--folds trains the folds of a cross-validation instead: the training images are divided into parts,
and each part is held out once by a run that learns from the others. Runs are in
FOLDER/fold_0/seed_0 and so on; --config.data.stratified=True gives each part its share of each
class, and --config.data.keep_groups_together=True keeps all images of a patient, say, on one side.
The test set stays unopened unless you set --config.evaluate.test=True:

  python -m cifar_jax repeat --config=configs/cnn_simple.py --folds=5

A seed that ends in NaN, or fails otherwise, is reported and the next one begins; the exit status is
then 1. Options of the config may follow, all but --config.seed:

  python -m cifar_jax repeat --config=configs/cnn_simple.py --seeds=0,3,7 --config.epochs=5

Afterwards, test two such folders for a difference:

  python -m cifar_jax compare runs/cnn_simple_seeds runs/cnn_adv_seeds
"""

import argparse
import contextlib
import pathlib
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from cifar_jax.commands import parsing
from cifar_jax.startup import early_start, process
from cifar_jax.utils import cache, paths
from cifar_jax.utils.errors import UserError

_MOST_SEEDS = 10_000
_LARGEST_SEED = 2**32 - 1
_MOST_FOLDS = 1000


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'trains a config with several seeds: mean, deviation, interval'
  parser = parsing.add_verb(
    verbs, 'repeat', run, about, __doc__, takes_overrides=True, computes=True, group='Try many'
  )
  parsing.add_options(parser, '--config')
  parser.add_argument(
    '--seeds',
    help='how many seeds, or which, as in 0,3,7; default: 5, or 1 with --folds',
    metavar='N',
  )
  parser.add_argument(
    '--folds', type=int, default=0, help='cross-validation: hold out each of N parts', metavar='N'
  )
  parser.add_argument(
    '--first_seed', type=int, default=0, metavar='SEED', help='the first of --seeds=N; default: 0'
  )
  parser.add_argument(
    '--vary',
    action='append',
    default=[],
    metavar='OPTION=VALUE,...',
    help='train the seeds with each of these values; repeated: with each combination of values',
  )
  parser.add_argument(
    '--together',
    nargs='?',
    const='yes',
    default='auto',
    choices=['auto', 'yes', 'no'],
    help='train the runs in one program; auto: if that is possible and faster',
  )
  parser.add_argument(
    '--workdir',
    type=parsing.run_path,
    metavar='FOLDER',
    help='folder for the runs; default: runs/<config name>_seeds, or _folds',
  )
  parsing.add_options(parser, '--progress')


def run(arguments: argparse.Namespace) -> None:
  """Trains the runs and prints their table."""
  folds = arguments.folds
  seeds = read_seeds(arguments.seeds or ('1' if folds else '5'), arguments.first_seed)
  refuse_seed(arguments.overrides)
  check_folds(folds, [*arguments.overrides, *(f'--config.{text}' for text in arguments.vary)])
  if folds:  # one chooses by it; what the user says comes later
    arguments.overrides = ['--config.evaluate.test=False', *arguments.overrides]
  process.outlive_readers()
  from cifar_jax import config as configs

  variations = read_variations(arguments.vary)
  several = {
    name: configs.load(arguments.config, [*arguments.overrides, *overrides])
    for name, overrides in variations.items()
  }
  early_start.start_accelerator()
  cache.warn_if_unwritable()
  from cifar_jax.report.epoch_images import EpochImages
  from cifar_jax.run_dir.progress import Progress
  from cifar_jax.trainer.loop import train
  from cifar_jax.trainer.together import NotTogetherError
  from cifar_jax.trials import repeat
  from cifar_jax.trials.look_recorder import LookRecorder

  name = configs.name_of(arguments.config)
  folder = arguments.workdir or paths.run_path(f'runs/{name}_{"folds" if folds else "seeds"}')
  if (folder / configs.CONFIG_NAME).is_file():
    raise UserError(f'--workdir={folder} is the folder of a run, in which nobody looks for others')
  plans = {
    name: repeat.plan_folds(one, folder / name, seeds, folds)
    if folds
    else repeat.plan(one, folder / name, seeds)
    for name, one in several.items()
  }
  runs = [run for plan in plans.values() for run in plan]
  waiting = sum(run.state != repeat.FINISHED for run in runs)
  overrides_of = {
    run.folder: [*variations[name], *(_of_fold(run.config) if folds else [])]
    for name, plan in plans.items()
    for run in plan
  }
  progress = Progress(arguments.progress)

  def as_launched(config: Any, run: pathlib.Path) -> contextlib.AbstractContextManager[None]:
    return _as_launched(arguments, overrides_of[run], config.seed, run)

  def train_one(config: Any, run: pathlib.Path, *rest: Any, **options: Any) -> dict[str, Any]:
    with as_launched(config, run):
      return train(config, run, *rest, **options)

  def extra(config: Any) -> Sequence[Any]:
    return [EpochImages(config), LookRecorder('repeat')]

  # One run after the other shows the table of a group that it trains.
  untold = any(all(run.state == repeat.FINISHED for run in plan) for plan in plans.values())
  stopped, together = False, arguments.together != 'no' and waiting > 1
  if together:
    try:
      only_if_faster = arguments.together == 'auto'
      stopped = repeat.train_together(runs, progress, extra, only_if_faster, as_launched)
    except NotTogetherError as reason:
      if arguments.together == 'yes':
        raise
      progress.note(f'one run after the other: {reason}')
      together = False
  if not together:
    after = waiting
    for name, plan in plans.items():
      if stopped:
        break
      after -= sum(run.state != repeat.FINISHED for run in plan)
      if name:
        progress.note(f'\n{name}')
      stopped = repeat.train_each(plan, progress, train_one, extra, runs_after=after)
  if not waiting:
    progress.note('all have finished')
  if together or untold:
    for name, plan in plans.items():
      progress.note(f'\n{name}\n{repeat.table(plan)}' if name else f'\n{repeat.table(plan)}')
  if stopped:
    progress.note('stopped and saved; the same command goes on from there')
  else:
    progress.note(f'look at     python -m cifar_jax compare {shlex.quote(str(folder))} --each')
  if any(one.state == repeat.FAILED for one in runs):
    sys.exit(1)


def read_variations(texts: Sequence[str]) -> dict[str, list[str]]:
  """Name of a group's folder -> its overrides, for each combination of the values of --vary; the
  one without any is {'': []}.

  Raises:
    UserError: A text is no option with values, or an option comes twice.
  """
  found: dict[str, list[str]] = {'': []}
  options: list[str] = []
  for text in texts:
    match = re.fullmatch(r'(?:--?config\.|config\.)?([a-z_0-9.]+)=([^=/\\]+)', text)
    values = match[2].split(',') if match else []
    if not match or not all(value.strip() for value in values) or _has_twice(values):
      raise UserError(
        f'--vary={text}: name an option and different values, as in '
        '--vary=optimizer.learning_rate=1e-3,3e-3'
      )
    if match[1] in options or match[1] == 'seed':
      raise UserError(f'--vary={text}: {match[1]} is given already')
    options.append(match[1])
    short = match[1].rpartition('.')[2]
    found = {
      ','.join(filter(None, [name, f'{short}={value}'])): [
        *overrides,
        f'--config.{match[1]}={value}',
      ]
      for name, overrides in found.items()
      for value in values
    }
  return found


def _has_twice(values: Sequence[str]) -> bool:
  """Whether two of some values are equal, as 1e-3 and 0.001 are."""
  found: set[str | float] = set()
  for value in values:
    try:
      found.add(float(value))
    except ValueError:
      found.add(value.strip())
  return len(found) < len(values)


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
  elif not 0 < numbers[0] <= _MOST_SEEDS:
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


def check_folds(folds: int, overrides: Sequence[str]) -> None:
  """Raises UserError where --folds is no number of folds, or an option says the same."""
  if not folds:
    return
  if not 2 <= folds <= _MOST_FOLDS:
    raise UserError(f'--folds={folds}: give a number of folds from 2 to {_MOST_FOLDS}')
  for override in overrides:
    if re.match(r'--?config\.data\.folds?(=|$)', override):
      raise UserError(f'{override}: --folds={folds} trains a run for each fold')


def _of_fold(config: Any) -> list[str]:
  """The overrides that say which fold a run holds out."""
  return [f'--config.data.folds={config.data.folds}', f'--config.data.fold={config.data.fold}']


@contextlib.contextmanager
def _as_launched(
  arguments: argparse.Namespace, overrides: Sequence[str], seed: int, folder: pathlib.Path
) -> Iterator[None]:
  """Lets the run's summary name the command that trains this run alone."""
  before = sys.argv
  flags = [
    f'--config={arguments.config}',
    *arguments.overrides,
    *overrides,
    f'--config.seed={seed}',
  ]
  sys.argv = ['launch.py', *flags, f'--workdir={folder}']
  try:
    yield
  finally:
    sys.argv = before
