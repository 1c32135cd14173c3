"""Prints the most probable classes of images of any size: files, folders, URLs, or - for stdin.

Images become inputs of the network just as those of its training did. If it was trained on arrays,
an image of their size is used as it is, and others are cropped to the middle. Files that cannot be
read are named on stderr and skipped; the exit status is then 1. For a run on images with several
labels, all labels are shown whose probabilities reach the thresholds that were chosen on its
validation images.

  python -m cifar_jax predict runs/cnn_adv holiday.jpg photos/ https://example.org/cat.png
  python -m cifar_jax predict runs/cnn_adv photos/ --format=csv > found.csv

With --labels, predictions are compared with the names of the folders that the images are in, or
with a table of file and label. Wrong ones are marked, and accuracy and classes come last.

  python -m cifar_jax predict runs/cnn_adv photos/ --labels --classes=car=automobile
  python -m cifar_jax predict runs/cnn_adv photos/ --labels=labels.csv
"""

import argparse
import io
import sys
from typing import Any

from cifar_jax.commands import parsing
from cifar_jax.utils.errors import UserError


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'classifies new images, with probabilities'
  parser = parsing.add_verb(verbs, 'predict', run, about, __doc__, computes=True, group='Use')
  parsing.add_options(parser, 'run')
  parser.add_argument('images', nargs='+', metavar='IMAGE', help='file, folder, address or -')
  parsing.add_options(parser, '--checkpoint', '--data_dir')
  parser.add_argument(
    '--top',
    type=int,
    default=3,
    help='how many classes to show, if an image has one label; default: 3',
  )
  parser.add_argument(
    '--format', default='table', choices=['table', 'json', 'csv'], help='json: one object per line'
  )
  parser.add_argument(
    '--labels',
    nargs='?',
    const='',
    metavar='FILE.csv',
    help='compare with the true labels: a table of file and label; without a file, the names of '
    "the images' folders",
  )
  parsing.add_options(parser, '--classes', '--skip_unknown_classes')


def run(arguments: argparse.Namespace) -> None:
  """Prints one line per image."""
  if arguments.top < 1:
    raise UserError(f'--top={arguments.top}: there must be at least 1')
  with_labels = arguments.labels is not None
  if not with_labels and (arguments.classes or arguments.skip_unknown_classes):
    raise UserError('--classes and --skip_unknown_classes are for labels: give --labels as well')
  from cifar_jax.predict import classifier, image_files, labels, predictions

  network = classifier.load(arguments.run, arguments.checkpoint, arguments.data_dir)
  known = None
  if with_labels:
    if network.thresholds:
      raise UserError(
        '--labels compares one class an image, and the run was trained on images with several '
        'labels; evaluate RUN --data.name=csv measures it on a table of them'
      )
    names = [name for name, problem in image_files.named(arguments.images) if not problem]
    known = labels.read(
      names,
      arguments.labels,
      network.class_names,
      arguments.classes,
      arguments.skip_unknown_classes,
    )
  top = min(arguments.top, len(network.class_names))
  if isinstance(sys.stdout, io.TextIOWrapper):
    # A name that the terminal cannot show is no reason to stop.
    sys.stdout.reconfigure(errors='backslashreplace')
  form = predictions.form(arguments.format, network, top, with_labels)
  if form.header:
    print(form.header, flush=True)
  skipped = 0
  predicted: dict[str, str] = {}
  for image, classes in predictions.predict(network, arguments.images, top):
    if image.pixels is None:
      skipped += 1
      print(f'skipped {image.shown_name}: {image.problem}', file=sys.stderr)
      continue
    verdict = None
    if known:
      predicted[image.name] = classes[0][0]
      label = known.of_image.get(image.name)
      right = None if label is None else classes[0][0] == label
      verdict = predictions.Verdict(label, right)
    name = image.shown_name if arguments.format == 'table' else image.name
    print(form.line(name, classes, verdict), flush=True)
  if known:
    # What programs read has lines of one kind.
    file = sys.stdout if arguments.format == 'table' else sys.stderr
    print('', *labels.summary(known, predicted), sep='\n', file=file)
  if skipped:
    print(f'{skipped} skipped', file=sys.stderr)
    sys.exit(1)
