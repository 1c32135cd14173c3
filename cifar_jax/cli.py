"""The commands beside training: python -m cifar_jax VERB ..."""

import argparse
import json
import pathlib
import re
from collections.abc import Sequence

from cifar_jax import config as configs
from cifar_jax.errors import UserError, reported_errors
from cifar_jax.startup import host_memory, xla_flags

_DESCRIPTION = """\
Works with finished and unfinished runs of launch.py, and with configs.

  python -m cifar_jax evaluate runs/cnn_adv
  python -m cifar_jax evaluate runs/cnn_adv --checkpoint=best --split=validation
  python -m cifar_jax summary --config=configs/cnn_adv.py
  python -m cifar_jax summary --config=configs/cnn_adv.py --config.model.widths='(64,128,256)'
"""


def main(argv: Sequence[str] | None = None) -> None:
  """Runs one verb; ends with status 2 and one line on stderr if the user has to mend something."""
  parser = _parser()
  arguments, rest = parser.parse_known_args(argv)
  overrides = [argument for argument in rest if re.match(r'--?(no)?config\.', argument)]
  unknown = [argument for argument in rest if argument not in overrides]
  if unknown or (overrides and arguments.verb != 'summary'):
    parser.error(f'unrecognised: {" ".join(unknown or overrides)}')
  with reported_errors():
    if arguments.verb == 'evaluate':
      _evaluate(arguments)
    else:
      _summary(arguments, overrides)


def _parser() -> argparse.ArgumentParser:
  shape = argparse.RawDescriptionHelpFormatter
  parser = argparse.ArgumentParser(
    'python -m cifar_jax', description=_DESCRIPTION, formatter_class=shape, allow_abbrev=False
  )
  verbs = parser.add_subparsers(dest='verb', required=True, metavar='VERB')

  evaluate = verbs.add_parser(
    'evaluate',
    help='loss and accuracy of a checkpoint',
    description='Loss and accuracy of a checkpoint over a split, every example once.\n\n'
    '  python -m cifar_jax evaluate runs/cnn_adv --checkpoint=best',
    formatter_class=shape,
    allow_abbrev=False,
  )
  evaluate.add_argument('run', type=pathlib.Path, metavar='RUN', help='folder of the run')
  evaluate.add_argument(
    '--checkpoint', default='latest', help="'latest' (default), 'best' or a step number"
  )
  evaluate.add_argument(
    '--split', default='test', choices=['train', 'validation', 'test'], help='default: test'
  )
  evaluate.add_argument(
    '--data_dir', default=None, help='where the data is now, if it has moved since training'
  )
  evaluate.add_argument('--json', action='store_true', help='print one JSON object')

  summary = verbs.add_parser(
    'summary',
    help='the network of a config, layer by layer',
    description='The network of a config, traced from the real module, without any data.\n\n'
    '  python -m cifar_jax summary --config=configs/cnn_adv.py --table',
    formatter_class=shape,
    allow_abbrev=False,
  )
  summary.add_argument('--config', required=True, metavar='FILE', help='path of the config file')
  summary.add_argument(
    '--image_shape',
    default='32,32,3',
    metavar='H,W,C',
    help='size of the images; default: 32,32,3',
  )
  summary.add_argument('--num_classes', type=int, default=10, help='default: 10')
  summary.add_argument(
    '--table', action='store_true', help='a table with totals instead of the drawing'
  )
  return parser


def _evaluate(arguments: argparse.Namespace) -> None:
  host_memory.keep_freed_memory()
  xla_flags.set_flags()
  from cifar_jax.evaluate import evaluate  # imports JAX, which reads the XLA flags once

  results = evaluate(arguments.run, arguments.checkpoint, arguments.split, arguments.data_dir)
  if arguments.json:
    print(json.dumps(results))
    return
  print(
    f'{results["split"]} loss {results["loss"]:.4f}, accuracy {100 * results["accuracy"]:.2f} % '
    f'({results["examples"]} examples of {results["data"]}, checkpoint of step {results["step"]})'
  )


def _summary(arguments: argparse.Namespace, overrides: Sequence[str]) -> None:
  config = configs.load(arguments.config, overrides)
  configs.validate(config)
  match = re.fullmatch(r'([1-9]\d*),([1-9]\d*),([1-9]\d*)', arguments.image_shape)
  if arguments.num_classes < 1:
    raise UserError(f'--num_classes={arguments.num_classes}: there must be at least 1')
  if not match:
    raise UserError(
      f'--image_shape={arguments.image_shape}: write height,width,channels as in 32,32,3'
    )
  from cifar_jax import models, summary, tracing

  module = models.create(config.model, arguments.num_classes)
  records = tracing.trace(module, tuple(int(size) for size in match.groups()), 'softmax')
  print(summary.keras_table(records) if arguments.table else summary.keras_ascii(records))
