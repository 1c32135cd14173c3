"""The model card of a run: Markdown with the metadata of the Hugging Face hub. It says what the
network is, what it was measured on, how it was trained, what its limits are and how to use it.

  python -m cifar_jax card runs/cnn_adv
  python -m cifar_jax card runs/cnn_adv --out=card --license=apache-2.0

Without --out, the card is printed. With --out, the folder gets README.md, the curves and, once
`report` has drawn it, the confusion matrix.
"""

import argparse
from typing import Any

from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'writes a model card: numbers, data, recipe and limits of a run'
  parser = parsing.add_verb(verbs, 'card', run, about, __doc__, group='Share')
  parsing.add_options(parser, 'run')
  parser.add_argument(
    '--out',
    type=parsing.path,
    metavar='FOLDER',
    help='for README.md and pictures; created if missing',
  )
  parser.add_argument(
    '--license',
    metavar='ID',
    help="license of the weights, by the hub's name for it, such as 'apache-2.0'; default: what "
    "the model folder says, or 'unknown'",
  )


def run(arguments: argparse.Namespace) -> None:
  """Prints the card, or writes it."""
  from cifar_jax.cards import card

  if arguments.out:
    print(f'look at     {card.write(arguments.run, arguments.out, arguments.license)}')
  else:
    print(card.of_run(arguments.run, arguments.license), end='')
