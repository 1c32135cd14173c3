"""Evolves convolutional networks and their optimizers; the same command resumes.

  [[CONV -> ACT] x N -> POOL?] x M -> [DENSE -> ACT] x K -> logits

FILE decides everything else: data, augmentation, batch size, schedule and length. Each trial picks
a few finished trials and changes the network of the best one; the oldest are discarded (Real et
al., 2019). The first networks are that of FILE, those of --first, variants of these, and random
ones.

  python -m cifar_jax evolve --config=configs/cnn_adv.py --config.data.validation=5000 --trials=60
  python -m cifar_jax evolve --config=configs/cnn_adv.py --config.data.validation=5000 \\
    --minutes=90 --stages=0.5:24,2:16,6 --max_parameters=700000 --max_macs=20000000 --workers=2
  python -m cifar_jax evolve --config=configs/cnn_adv.py --config.data.validation=5000 \\
    --trials=60 --random

--stages=0.5:24,2:16,6 trains 24 networks once on half of the images, then 16 for 2 epochs and the
others for 6. The best of each stage are the first of the next, trained anew; accuracies of
different stages are never compared. Networks above the limits are drawn again before any training.
--random is the control: the same given networks, limits, stages and budget, but every other network
is drawn at random, and none is a child.

Budget, workers, storage, and continuing after Ctrl-C or kill -9 work as for `search`. As there,
only `final` opens the test set.
"""

import argparse
from typing import Any

from cifar_jax.commands import parsing, search

_FIRST = 'cnn_simple,cnn_adv,cnn_pkaur'


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parser = parsing.add_verb(
    verbs,
    'evolve',
    run,
    'finds a better network of the same kind by evolution',
    __doc__,
    takes_overrides=True,
    group='Try many',
  )
  parsing.add_options(parser, '--config')
  search.add_study_options(parser)
  parser.add_argument(
    '--stages',
    default='',
    metavar='EPOCHS:TRIALS,...',
    help='how long to train, and how many networks; default: an eighth, a third and all of '
    "FILE's epochs for half, three tenths and the rest of the trials",
  )
  parser.add_argument(
    '--first',
    default=_FIRST,
    metavar='FILE,...',
    help=f"configs whose networks come first, after that of --config; default: {_FIRST}; '': none",
  )
  parser.add_argument(
    '--population', type=int, default=16, metavar='N', help='number of living networks; default: 16'
  )
  parser.add_argument(
    '--tournament',
    type=int,
    default=4,
    metavar='N',
    help='number of living networks picked, of which the best is the parent; default: 4',
  )
  parser.add_argument(
    '--crossover', type=float, default=0.3, help='share of children with two parents; default: 0.3'
  )
  parser.add_argument(
    '--max_parameters',
    type=int,
    default=2_000_000,
    metavar='N',
    help='parameters of a network; default: 2000000; 0: no limit',
  )
  parser.add_argument(
    '--max_macs',
    type=int,
    default=60_000_000,
    metavar='N',
    help='multiply-adds of the forward pass of one image; default: 60000000; 0: no limit',
  )
  parser.add_argument(
    '--inherit',
    action='store_true',
    help="let children start from those of their first parent's weights that fit",
  )
  parser.add_argument(
    '--random', action='store_true', help='draw every network at random: the control'
  )


def run(arguments: argparse.Namespace) -> None:
  """Begins or goes on with an evolution, works for one, or shows it."""
  from cifar_jax.utils.optional_deps import require

  require('search', 'optuna', 'sqlalchemy')
  from cifar_jax.search import evolve

  evolve.run(arguments)
