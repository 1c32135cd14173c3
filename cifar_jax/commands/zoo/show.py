"""Prints the card of an entry: its numbers and what they were measured on, its data, recipe and
limits.

python -m cifar_jax zoo show fast90
"""

import argparse
from typing import Any

from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parser = parsing.add_verb(verbs, 'show', run, 'the card of an entry', __doc__)
  parser.add_argument('name', metavar='NAME', help='name of the entry, from zoo list')


def run(arguments: argparse.Namespace) -> None:
  """Prints the card, and where the files are."""
  from cifar_jax.cards import card
  from cifar_jax.zoo import entries

  folder = entries.find(arguments.name.removeprefix(entries.PREFIX))
  print(f'{card.of_run(folder)}\nfiles       {folder}')
