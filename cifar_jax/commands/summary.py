"""Shows the network of a config, traced from the real module, without any data: as a drawing of its
layers, or as a table with totals.

  python -m cifar_jax summary --config=configs/cnn_adv.py --table
"""

import argparse
import re
import sys
from typing import Any

from cifar_jax.commands import parsing
from cifar_jax.utils.errors import UserError


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'shows the network of a config, layer by layer'
  parser = parsing.add_verb(
    verbs, 'summary', run, about, __doc__, takes_overrides=True, group='Look'
  )
  parsing.add_options(parser, '--config')
  parser.add_argument(
    '--image_shape',
    metavar='H,W,C',
    help='size of the images; default: that of the config, or 32,32,3',
  )
  parser.add_argument('--num_classes', type=int, help='default: that of the config, or 10')
  parser.add_argument(
    '--table', action='store_true', help='print a table with totals instead of the drawing'
  )


def run(arguments: argparse.Namespace) -> None:
  """Prints the drawing or the table."""
  from cifar_jax import config as configs

  config = configs.load(arguments.config, arguments.overrides)
  configs.validate(config)
  image_shape, num_classes = _shape(arguments.image_shape), arguments.num_classes
  if num_classes is not None and num_classes < 1:
    raise UserError(f'--num_classes={num_classes}: there must be at least 1')
  from cifar_jax import models
  from cifar_jax.analysis import layer_table, tracing
  from cifar_jax.data.expected import expected
  from cifar_jax.training.tasks import MULTI_LABEL, SINGLE_LABEL

  if image_shape is None or num_classes is None:
    data = expected(config.data)
    if image_shape is None and not data.knows_size:
      height, width, channels = data.image_shape
      _say(f'the size of the images: {height}x{width}x{channels} here', '--image_shape=H,W,C')
    if num_classes is None and not data.knows_classes:
      _say(f'the number of classes: {data.num_classes} here', '--num_classes=N')
    image_shape, num_classes = image_shape or data.image_shape, num_classes or data.num_classes
  module = models.create(config.model, num_classes)
  activation = (MULTI_LABEL if config.data.multi_label else SINGLE_LABEL).activation
  records = tracing.trace(module, image_shape, activation)
  print(layer_table.keras_table(records) if arguments.table else layer_table.keras_ascii(records))


def _shape(text: str | None) -> tuple[int, int, int] | None:
  if text is None:
    return None
  match = re.fullmatch(r'([1-9]\d{0,8}),([1-9]\d{0,8}),([1-9]\d{0,8})', text, re.ASCII)
  if not match:
    raise UserError(f'--image_shape={text}: write height,width,channels as in 32,32,3')
  height, width, channels = (int(size) for size in match.groups())
  return height, width, channels


def _say(what: str, flag: str) -> None:
  print(f'note: without its data the config does not say {what}; {flag} sets it', file=sys.stderr)
