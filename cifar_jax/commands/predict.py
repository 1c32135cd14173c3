"""The most probable classes of images of any size: files, folders, addresses, - for stdin.

They become inputs of the network as those of its training did; where it was trained on arrays, an
image of their size is taken as it is, and others are cut to the middle part. What cannot be read is
named on stderr and skipped; the exit status is then 1.

  python -m cifar_jax predict runs/cnn_adv holiday.jpg photos/ https://example.org/cat.png
  python -m cifar_jax predict runs/cnn_adv photos/ --format=csv > found.csv
"""

import argparse
import io
import sys
from typing import Any

from cifar_jax.commands import parsing
from cifar_jax.utils.errors import UserError


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'classes of new images, with probabilities'
  parser = parsing.add_verb(verbs, 'predict', run, about, __doc__, computes=True, group='Use')
  parsing.add_options(parser, 'run')
  parser.add_argument('images', nargs='+', metavar='IMAGE', help='file, folder, address or -')
  parsing.add_options(parser, '--checkpoint', '--data_dir')
  parser.add_argument('--top', type=int, default=3, help='classes shown; default: 3')
  parser.add_argument(
    '--format', default='table', choices=['table', 'json', 'csv'], help='json: one object per line'
  )


def run(arguments: argparse.Namespace) -> None:
  """Prints one line per image."""
  if arguments.top < 1:
    raise UserError(f'--top={arguments.top}: there must be at least 1')
  from cifar_jax.predict import classifier, predictions

  network = classifier.load(arguments.run, arguments.checkpoint, arguments.data_dir)
  top = min(arguments.top, len(network.class_names))
  if isinstance(sys.stdout, io.TextIOWrapper):
    # A name that the terminal cannot show is no reason to stop.
    sys.stdout.reconfigure(errors='backslashreplace')
  if arguments.format == 'csv':
    print(predictions.csv_header(top), flush=True)
  skipped = 0
  for image, classes in predictions.predict(network, arguments.images, top):
    if not classes:
      skipped += 1
      print(f'skipped {image.shown_name}: {image.problem}', file=sys.stderr)
    elif arguments.format == 'table':
      print(predictions.as_table(image.shown_name, classes), flush=True)
    else:
      line = {'json': predictions.as_json, 'csv': predictions.as_csv}[arguments.format]
      print(line(image.name, classes), flush=True)
  if skipped:
    print(f'{skipped} skipped', file=sys.stderr)
    sys.exit(1)
