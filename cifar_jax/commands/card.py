"""The model card of a run: Markdown with the metadata of the Hugging Face hub. It says what the
network is, what it was measured on, how it was trained, what its limits are and how to use it.

  python -m cifar_jax card runs/cnn_adv
  python -m cifar_jax card runs/cnn_adv --out=card --license=apache-2.0

Without --out it is printed. A folder gets README.md, and beside it the curves and, where `report`
has drawn it, the confusion matrix.
"""

import argparse
from typing import Any

from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'a model card: what a run is, knows and cannot do'
  parser = parsing.add_verb(verbs, 'card', run, about, __doc__, group='Share')
  parsing.add_options(parser, 'run')
  parser.add_argument(
    '--out', type=parsing.path, metavar='FOLDER', help='for README.md and pictures; made if missing'
  )
  parser.add_argument(
    '--license',
    metavar='ID',
    help="of the weights, as the hub calls it, as 'apache-2.0'; default: what the model folder "
    "says, else 'unknown'",
  )


def run(arguments: argparse.Namespace) -> None:
  """Prints the card, or writes it."""
  from cifar_jax.cards import card

  if arguments.out:
    print(f'look at     {card.write(arguments.run, arguments.out, arguments.license)}')
  else:
    print(card.of_run(arguments.run, arguments.license), end='')
