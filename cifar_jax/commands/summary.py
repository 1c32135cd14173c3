"""python -m cifar_jax summary: the network of a config, layer by layer."""

import argparse
import re
from typing import Any

from cifar_jax import config as configs
from cifar_jax.commands import parsing
from cifar_jax.errors import UserError


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parser = parsing.add_verb(
    verbs,
    'summary',
    run,
    'the network of a config, layer by layer',
    'The network of a config, traced from the real module, without any data.\n\n'
    '  python -m cifar_jax summary --config=configs/cnn_adv.py --table',
    takes_overrides=True,
  )
  parsing.add_config(parser)
  parser.add_argument(
    '--image_shape',
    metavar='H,W,C',
    help='size of the images; default: 32,32,3, or 32,32,1 with --config.data.channels=1',
  )
  parser.add_argument('--num_classes', type=int, default=10, help='default: 10')
  parser.add_argument(
    '--table', action='store_true', help='a table with totals instead of the drawing'
  )


def run(arguments: argparse.Namespace) -> None:
  """Prints the drawing or the table."""
  config = configs.load(arguments.config, arguments.overrides)
  configs.validate(config)
  image_shape = arguments.image_shape
  if image_shape is None:
    image_shape = f'32,32,{config.data.channels or 3}'
  match = re.fullmatch(r'([1-9]\d*),([1-9]\d*),([1-9]\d*)', image_shape)
  if arguments.num_classes < 1:
    raise UserError(f'--num_classes={arguments.num_classes}: there must be at least 1')
  if not match:
    raise UserError(f'--image_shape={image_shape}: write height,width,channels as in 32,32,3')
  from cifar_jax import models
  from cifar_jax.anatomy import summary, tracing

  module = models.create(config.model, arguments.num_classes)
  records = tracing.trace(module, tuple(int(size) for size in match.groups()), 'softmax')
  print(summary.keras_table(records) if arguments.table else summary.keras_ascii(records))
