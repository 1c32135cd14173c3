"""Serves a web page of runs and studies while they train: a leaderboard whose columns, order,
filter and groups you choose on the page, curves of training and validation, and, for runs with
--config.evaluate.images_every_epochs=1, the misclassified images of each epoch.

RUN may be a run, a study, or a folder that contains them; new ones appear by themselves.

  python -m cifar_jax dashboard
  python -m cifar_jax dashboard runs/cnn_adv runs/cnn_simple_study --port=8000
  python -m cifar_jax dashboard --host=0.0.0.0   (for the whole network)

The address holds your choices, so you can share it. python -m cifar_jax compare RUN --html=FILE
saves the page as a file.
"""

import argparse
import os
from typing import Any

from cifar_jax.commands import parsing
from cifar_jax.startup import process
from cifar_jax.utils import paths
from cifar_jax.utils.errors import UserError
from cifar_jax.web import http_server


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'serves a web page of runs while they train'
  parser = parsing.add_verb(
    verbs, 'dashboard', run, about, __doc__, keeps_memory=False, starts_jax=False, group='Look'
  )
  parser.add_argument(
    'runs',
    nargs='*',
    type=parsing.path,
    metavar='RUN',
    default=[paths.user_path('runs')],
    help='folder of a run or a study, or one that contains them; default: runs',
  )
  parsing.add_options(parser, '--host', '--name')
  parser.add_argument('--port', type=int, default=7870, help='default: 7870; 0: any free one')


def run(arguments: argparse.Namespace) -> None:
  """Serves until Ctrl-C."""
  http_server.check_port(arguments.port)
  names = http_server.checked_names(arguments.name)
  for folder in arguments.runs:
    if not os.path.isdir(folder):
      raise UserError(f'{folder} is no folder; give folders of runs, or make it for runs to come')
  from cifar_jax.dashboard.web_app import serve
  from cifar_jax.utils.optional_deps import require

  require('serve', 'flask', 'waitress')
  with process.catching_interrupts():
    serve(arguments.runs, arguments.host, arguments.port, names)
