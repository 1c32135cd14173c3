"""Lists every option of a config with its default and allowed values, or only those whose name or
description contains all the words.

  python -m cifar_jax options weight decay
"""

import argparse
from typing import Any

from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'lists the options of a config, or those that contain some words'
  parser = parsing.add_verb(verbs, 'options', run, about, __doc__, group='Train')
  parser.add_argument('words', nargs='*', metavar='WORD', help='a word that must occur')
  parser.add_argument('--markdown', action='store_true', help='print the text of docs/options.md')


def run(arguments: argparse.Namespace) -> None:
  """Prints the options."""
  from cifar_jax.config import reference

  text = reference.markdown() if arguments.markdown else reference.search(arguments.words)
  print(text, end='' if arguments.markdown else '\n')
