"""Tries many configs of a search space and finds the best by validation; the same command resumes.

SPACE.py is a config file whose get_config(trial) asks an Optuna trial what to try:

  def get_config(trial):
    config = cnn_simple.get_config()
    config.data.validation = '5000'
    config.optimizer.learning_rate = trial.suggest_float('learning_rate', 1e-4, 1e-2, log=True)
    return config

  python -m cifar_jax search configs/spaces/cnn_simple.py --trials=30
  python -m cifar_jax search configs/spaces/cnn_simple.py --minutes=60 --pruner=asha --workers=2
  python -m cifar_jax search configs/spaces/cnn_simple.py --objectives=val_accuracy,seconds \\
    --sampler=nsga2 --trials=50
  python -m cifar_jax search configs/spaces/cnn_simple.py --show

The budget is that of the whole study, over all its sessions and workers. Ctrl-C saves the running
trials; after that, and after kill -9 or a power failure, the same command continues them. The same
line on other machines, with the same --storage, adds workers. Trials never open the test set:
python -m cifar_jax final STUDY does, once.
"""

import argparse
from typing import Any

from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parser = parsing.add_verb(
    verbs,
    'search',
    run,
    'finds the best config of a search space, with Optuna',
    __doc__,
    takes_overrides=True,
    group='Try many',
  )
  parser.add_argument('space', metavar='SPACE', help='space file, or the folder of a study')
  add_study_options(parser)
  parser.add_argument(
    '--sampler',
    default='tpe',
    choices=('tpe', 'random', 'gp', 'cmaes', 'nsga2', 'grid'),
    help='what proposes trials; default: tpe. gp needs the package torch, cmaes the package cmaes; '
    'nsga2 is for several objectives; grid tries every combination of steps and choices once',
  )
  parser.add_argument(
    '--pruner',
    default='none',
    choices=('none', 'median', 'asha', 'hyperband'),
    help='what ends unpromising trials early, by their validation accuracy; default: none',
  )


def add_study_options(parser: argparse.ArgumentParser) -> None:
  """Adds what every command on a study takes."""
  parser.add_argument(
    '--folder', type=parsing.run_path, metavar='STUDY', help='folder of the study'
  )
  parser.add_argument('--trials', type=int, metavar='N', help='budget; default: 20 trials')
  parser.add_argument(
    '--epochs', type=int, metavar='N', help='budget: epochs of all trials together'
  )
  parser.add_argument(
    '--minutes', type=float, metavar='N', help='budget: minutes of work, summed over all workers'
  )
  parser.add_argument(
    '--seeds',
    type=int,
    default=1,
    metavar='N',
    help='runs per trial, whose mean counts; default: 1',
  )
  parser.add_argument(
    '--objectives',
    default='val_accuracy',
    help='separated by commas: val_accuracy (default), val_loss, seconds, parameters, macs',
  )
  parser.add_argument('--workers', type=int, default=1, metavar='N', help='processes; default: 1')
  parser.add_argument(
    '--storage',
    default='',
    help='journal:PATH, sqlite:///PATH or postgresql://USER@HOST/DATABASE; default: SQLite in the '
    "study's folder",
  )
  parser.add_argument(
    '--sampler_seed', type=int, default=0, metavar='N', help='seed of the proposals; default: 0'
  )
  parser.add_argument(
    '--show', action='store_true', help='show the state of the study, and go on with nothing'
  )
  parser.add_argument('--as_worker', action='store_true', help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> None:
  """Begins or goes on with a study, works for one, or shows it."""
  from cifar_jax.utils.optional_deps import require

  require('search', 'optuna', 'sqlalchemy')
  from cifar_jax.search import run as runs
  from cifar_jax.search import space

  if arguments.show or runs.is_study(arguments.space):
    runs.show_state(arguments)
    return
  proposer = space.load_space(arguments.space, arguments.overrides)
  runs.run(arguments, 'search', proposer, space.baseline_of(proposer))
