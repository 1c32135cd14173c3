"""Writes RUN/report/: a page that needs no other file and no network, and its images.

Another split or checkpoint has a folder below that, as RUN/report/validation_best.

  python -m cifar_jax report runs/cnn_adv --checkpoint=best
"""

import argparse
from typing import Any

from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'curves, confusion, mistakes, filters: a page about a run'
  parser = parsing.add_verb(verbs, 'report', run, about, __doc__, computes=True, group='Look')
  parsing.add_options(parser, 'run', '--checkpoint', '--data_dir', '--split')
  parser.add_argument(
    '--mistakes', type=int, default=24, metavar='N', help='how many to show; -1: all; default: 24'
  )
  parser.add_argument(
    '--image',
    type=int,
    default=0,
    metavar='INDEX',
    help='index in the split of the image whose feature maps are shown; default: 0',
  )


def run(arguments: argparse.Namespace) -> None:
  """Writes the page and says where it is."""
  from cifar_jax.predict.run_data import usual_split
  from cifar_jax.report.report import write_report
  from cifar_jax.trials import test_looks

  split = arguments.split or usual_split(arguments.run)
  page, measured = write_report(
    arguments.run,
    arguments.checkpoint,
    split,
    arguments.data_dir,
    arguments.mistakes,
    arguments.image,
  )
  if split == 'test':
    test_looks.record(arguments.run, 'report', f'checkpoint {arguments.checkpoint}')
  print(
    f'{split} accuracy {100 * measured["accuracy"]:.2f} %, loss {measured["loss"]:.4f}\n'
    f'look at     {page}'
  )
