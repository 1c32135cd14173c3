"""Writes the network of a run as a file for other software, and proves that its outputs are the
same.

An export takes images as uint8 [N, H, W, C] from 0 to 255, channels last, for any N, normalizes
them and returns logits, float32 [N, classes]. With --preprocessing=beside it takes normalized
float32 images instead, and with --output=probabilities it returns the probabilities of the classes.
It computes in float32 even if the network was trained in bfloat16. Test-time views
(--config.evaluate.tta) are not exported: it sees one view of each image. The target torch takes
channels first, as is usual in PyTorch, and its export.json says so.

The result is a folder: the network, export.json (what it takes and gives, class names, image size,
mean and standard deviation or whitening matrix) and parity.json, the report that is also printed:
the largest difference between its outputs and those of the run's network on 1,000 images, the
accuracies of both on the whole test set, times and versions. Without the data, random pictures are
compared. If the largest difference is above 1e-4 of the largest output, the export is not kept and
the exit status is 2. The status is also 2 if the target lacks an operation; the message then names
the layer.

Targets:

{targets}

  python -m cifar_jax export runs/cnn_adv --to=onnx
  python -m cifar_jax export runs/cnn_adv --to=stablehlo --out=shared/cnn_adv
  python -m cifar_jax export runs/cnn_adv --to=onnx --preprocessing=beside --output=probabilities
"""

import argparse
import pathlib
from typing import Any

from cifar_jax.commands import parsing
from cifar_jax.utils.errors import UserError


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  from cifar_jax.exchange.targets import OUTPUTS, PREPROCESSING, TARGETS

  about = 'writes a network for other software, and proves that it is the same'
  listed = '\n'.join(f'  {name:<12} {target.about}' for name, target in TARGETS.items())
  description = __doc__.replace('{targets}', listed)
  parser = parsing.add_verb(verbs, 'export', run, about, description, computes=True, group='Share')
  parsing.add_options(parser, 'run')
  parser.add_argument('--to', required=True, choices=TARGETS, metavar='TARGET', help='see above')
  parser.add_argument(
    '--out',
    type=parsing.path,
    metavar='FOLDER',
    help='new folder; default: NAME-TARGET in the current folder, where NAME is that of RUN',
  )
  parser.add_argument('--overwrite', action='store_true', help='replace an existing export')
  parsing.add_options(parser, '--checkpoint', '--data_dir')
  parser.add_argument(
    '--preprocessing',
    choices=PREPROCESSING,
    default='inside',
    help='inside (default): takes uint8 images; beside: takes normalized float32 images, and '
    'export.json has the numbers',
  )
  parser.add_argument(
    '--output', choices=OUTPUTS, default='logits', help='what the export returns; default: logits'
  )
  parser.add_argument(
    '--images',
    type=int,
    metavar='N',
    help='compare the accuracies on the first N images; default: the whole test set, which is '
    'downloaded if necessary; 0: compare random pictures, which needs no data',
  )


def run(arguments: argparse.Namespace) -> None:
  """Exports, and prints the report."""
  from cifar_jax.exchange import export, exported
  from cifar_jax.exchange.targets import MODEL_FOLDER, Options
  from cifar_jax.predict import classifier
  from cifar_jax.predict.run_data import load_known, usual_split
  from cifar_jax.trials import test_looks

  if arguments.images is not None and arguments.images < 0:
    raise UserError(f'--images={arguments.images} is below 0')
  out = arguments.out or pathlib.Path(f'{arguments.run.resolve().name}-{arguments.to}')
  export.check_place(out, arguments.overwrite)
  network = classifier.load(arguments.run, arguments.checkpoint, arguments.data_dir)

  def examples() -> tuple[Any, str]:
    if arguments.images == 0:
      return None, 'random pictures'
    split = usual_split(arguments.run)
    try:
      splits = load_known(arguments.run, network.config, split, arguments.data_dir)
    except UserError as error:
      if arguments.data_dir is not None:
        raise
      print(f'note        random pictures are compared, since there are no data: {error}')
      return None, 'random pictures'
    if split == 'test':
      test_looks.record(arguments.run, 'export', f'checkpoint {arguments.checkpoint}')
    return getattr(splits, split), f'{split} images'

  def add_card(folder: pathlib.Path) -> None:
    from cifar_jax.cards import card, share

    share.add_card(arguments.run, folder, card.reference_to(out))

  options = Options(arguments.preprocessing, arguments.output)
  found = export.export(
    network,
    arguments.to,
    out,
    options,
    examples,
    arguments.images,
    arguments.overwrite,
    add_card if arguments.to == MODEL_FOLDER else None,
  )
  for line in found.parity.lines():
    print(line)
  for note in (*exported.notes(network), *found.written.notes):
    print(f'note        {note}')
  print(f'exported    {found.folder / found.written.main}')
