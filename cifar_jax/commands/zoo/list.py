"""Prints a table of the trained weights that come with the package.

  python -m cifar_jax zoo list
  python -m cifar_jax zoo list --format=json

The accuracy is that of exactly these weights on the whole test set. A star marks those for which
the test set served as validation during training.
"""

import argparse
import json
from typing import Any

from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parser = parsing.add_verb(
    verbs, 'list', run, 'a table of what there is', __doc__, starts_jax=False
  )
  parser.add_argument('--format', default='table', choices=['table', 'json'])


def run(arguments: argparse.Namespace) -> None:
  """Prints the table."""
  from cifar_jax.cards import listing

  found = listing.entries_of_zoo()
  print(json.dumps(found, indent=2) if arguments.format == 'json' else listing.table(found))
