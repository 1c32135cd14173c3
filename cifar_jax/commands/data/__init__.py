"""Shows, downloads and organizes data sets. Without a VERB, it prints what a data set holds and
writes a page of its images.

  python -m cifar_jax data
  python -m cifar_jax data --config.data.name=folder --config.data.dir=photos
  python -m cifar_jax data --config=configs/airbench94.py --out=views
  python -m cifar_jax data --config.data.name=fashion_mnist --config.augment.flip=random
  python -m cifar_jax data fetch cifar10
  python -m cifar_jax data organize photos tree --class cats=cat
"""

import argparse
import pathlib
from typing import Any

from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb with its own verbs to the command line."""
  about = 'shows, downloads and organizes data sets'
  parser = parsing.add_verb(
    verbs, 'data', run, about, __doc__, takes_overrides=True, group='Data and machine'
  )
  parser.add_argument(
    '--config',
    default='configs/base.py',
    metavar='FILE',
    help='its sections data and augment are used; default: configs/base.py',
  )
  parser.add_argument(
    '--out',
    type=parsing.path,
    metavar='FOLDER',
    help='for the page; default: runs/views/NAME; created if missing',
  )
  own = parser.add_subparsers(dest='data_verb', metavar='VERB')
  parsing.add_verbs(own, __name__, __path__)


def run(arguments: argparse.Namespace) -> None:
  """Writes the views and prints the facts."""
  from cifar_jax import config as configs
  from cifar_jax.report.data_views import write_views

  config = configs.load(arguments.config, arguments.overrides)
  folder = arguments.out or pathlib.Path('runs/views') / config.data.name
  print(write_views(config, folder))
  print(f'\nlook at     {folder / "index.html"}')
