"""Loss and accuracy of a checkpoint over a split, every example once; prints one line, or one JSON
object.

  python -m cifar_jax evaluate runs/cnn_adv --checkpoint=best
"""

import argparse
import json
from typing import Any

from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parser = parsing.add_verb(
    verbs, 'evaluate', run, 'loss and accuracy of a checkpoint', __doc__, computes=True, group='Use'
  )
  parsing.add_options(parser, 'run', '--checkpoint', '--data_dir', '--split')
  parser.add_argument('--json', action='store_true', help='print one JSON object')


def run(arguments: argparse.Namespace) -> None:
  """Prints one line, or one JSON object."""
  from cifar_jax.predict.evaluate import evaluate
  from cifar_jax.predict.run_data import usual_split
  from cifar_jax.trials import test_looks

  split = arguments.split or usual_split(arguments.run)
  results = evaluate(arguments.run, arguments.checkpoint, split, arguments.data_dir)
  if split == 'test':
    test_looks.record(arguments.run, 'evaluate', f'checkpoint {arguments.checkpoint}')
  if arguments.json:
    print(json.dumps(results))
    return
  print(
    f'{results["split"]} loss {results["loss"]:.4f}, accuracy {100 * results["accuracy"]:.2f} % '
    f'({results["examples"]} examples of {results["data"]}, checkpoint of step {results["step"]})'
  )
