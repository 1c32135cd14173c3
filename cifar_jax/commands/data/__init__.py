"""python -m cifar_jax data: work with data sets. Every module in this folder is a verb of it."""

import argparse
import importlib
import pkgutil
from typing import Any

from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb with its own verbs to the command line."""
  parser = parsing.add_verb(
    verbs,
    'data',
    run,
    'work with data sets',
    'Works with data sets.\n\n  python -m cifar_jax data organize photos tree --class cats=cat',
  )
  own = parser.add_subparsers(dest='data_verb', required=True, metavar='VERB')
  for module in pkgutil.iter_modules(__path__):
    importlib.import_module(f'{__name__}.{module.name}').add_parser(own)


def run(arguments: argparse.Namespace) -> None:
  """Never called: the verbs of this one are required and have actions of their own."""
