"""Serves a web page on which you drop images and see what the network makes of them: the classes it
predicts, which pixels they depend on, and the most similar training images.

  python -m cifar_jax serve runs/cnn_adv
  python -m cifar_jax serve runs/cnn_adv --host=0.0.0.0 --port=8000  # for the whole network
"""

import argparse
from typing import Any

from cifar_jax.commands import parsing
from cifar_jax.startup import process
from cifar_jax.utils.errors import UserError
from cifar_jax.web import http_server


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'serves a web page that classifies images'
  # A page that is open for days must not hold what one large image took.
  parser = parsing.add_verb(
    verbs, 'serve', run, about, __doc__, keeps_memory=False, computes=True, group='Use'
  )
  parsing.add_options(parser, 'run', '--checkpoint', '--data_dir', '--host', '--name')
  parser.add_argument('--port', type=int, default=7860, help='default: 7860; 0: any free one')
  parser.add_argument(
    '--neighbors',
    '--neighbours',
    type=int,
    default=5000,
    metavar='N',
    help='how many training images to compare with; 0: none; default: 5000',
  )


def run(arguments: argparse.Namespace) -> None:
  """Serves until Ctrl-C."""
  if arguments.neighbors < 0:
    raise UserError(f'--neighbors={arguments.neighbors}: give 0 or more')
  http_server.check_port(arguments.port)
  names = http_server.checked_names(arguments.name)
  from cifar_jax.predict import classifier
  from cifar_jax.predict.run_data import load_known
  from cifar_jax.serve.web_app import serve
  from cifar_jax.utils.optional_deps import require

  require('serve', 'flask', 'waitress', 'matplotlib')
  network = classifier.load(arguments.run, arguments.checkpoint, arguments.data_dir)
  split = None
  if arguments.neighbors:
    try:
      splits = load_known(arguments.run, network.config, 'train', arguments.data_dir)
      split = splits.train
    except UserError as error:
      print(f'no nearest training images: {error}')
  with process.catching_interrupts():
    serve(network, split, arguments.neighbors, arguments.host, arguments.port, names)
