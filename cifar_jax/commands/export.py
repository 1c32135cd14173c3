"""Writes the network of a run as a file for other software, and proves that its outputs are the
same.

Every export takes images, uint8 [N, H, W, C], 0..255, channels last; N is free, and the
normalization is inside. It returns logits, float32 [N, classes]. --preprocessing=beside takes
normalized float32 images instead, --output=probabilities gives the probabilities of the classes. A
network that was trained in bfloat16 computes in float32 in the export. Test-time views
(--config.evaluate.tta) are not exported: an export sees one view of each image. The target torch
takes channels first, as PyTorch has them, and its export.json says so.

The result is a folder: the network, export.json (what it takes and gives, class names, image size,
mean and standard deviation or whitening matrix) and parity.json, the report that is printed too:
the largest difference between its outputs and those of the run's network on 1,000 images, the
accuracies of both on the whole test set, times and versions. If the data are not there, random
pictures are compared. An export that is not equal (largest difference above 1e-4 of the largest
output) is not kept, and the exit status is 2. It is also 2 where a target lacks an operation; the
layer is then named.

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

  about = 'the network of a run for other software, with proof'
  listed = '\n'.join(f'  {name:<12} {target.about}' for name, target in TARGETS.items())
  description = __doc__.replace('{targets}', listed)
  parser = parsing.add_verb(verbs, 'export', run, about, description, computes=True, group='Share')
  parsing.add_options(parser, 'run')
  parser.add_argument('--to', required=True, choices=TARGETS, metavar='TARGET', help='see above')
  parser.add_argument(
    '--out',
    type=parsing.path,
    metavar='FOLDER',
    help='the folder to be; default: NAME-TARGET in the current folder, NAME being that of RUN',
  )
  parser.add_argument(
    '--overwrite', action='store_true', help='replace an export that is there already'
  )
  parsing.add_options(parser, '--checkpoint', '--data_dir')
  parser.add_argument(
    '--preprocessing',
    choices=PREPROCESSING,
    default='inside',
    help='inside (default): takes images uint8; beside: takes normalized float32, and export.json '
    'has the numbers',
  )
  parser.add_argument(
    '--output', choices=OUTPUTS, default='logits', help='what it gives; default: logits'
  )
  parser.add_argument(
    '--images',
    type=int,
    metavar='N',
    help='judge the accuracies on the first N images; default: all of the test set, which is '
    'downloaded if it must be; 0 compares random pictures and needs no data',
  )


def run(arguments: argparse.Namespace) -> None:
  """Exports, and prints the report."""
  from cifar_jax.exchange import export, exported
  from cifar_jax.exchange.targets import Options
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

  options = Options(arguments.preprocessing, arguments.output)
  found = export.export(
    network, arguments.to, out, options, examples, arguments.images, arguments.overwrite
  )
  for line in found.parity.lines():
    print(line)
  for note in (*exported.notes(network), *found.written.notes):
    print(f'note        {note}')
  print(f'exported    {found.folder / found.written.main}')
