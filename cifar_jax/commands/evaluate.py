"""Prints the loss and accuracy of a checkpoint on a split, as one line, a table or one JSON object.
Every example counts once.

  python -m cifar_jax evaluate runs/cnn_adv --checkpoint=best

To use other data than the run's own, name them by options of the section `data` of a config. Images
become inputs as they did in training, and classes are matched by their names. If the data set has
splits, its test images are used unless --split says otherwise.

  python -m cifar_jax evaluate runs/cnn_adv --data.name=folder --data.dir=photos
  python -m cifar_jax evaluate runs/cnn_adv --data.name=mine --data.dir=mine.npz
  python -m cifar_jax evaluate runs/cnn_adv --data.name=folder --data.dir=photos \\
      --classes=car=automobile,plane=airplane --skip_unknown_classes
  python -m cifar_jax evaluate runs/cnn_adv --data.name=cifar10_1 --data.dir=CIFAR-10.1/datasets
  python -m cifar_jax evaluate runs/cnn_adv --data.name=cifar10_c --data.dir=CIFAR-10-C --csv
  python -m cifar_jax evaluate runs/cnn_adv --data.name=cifar10h --data.dir=cifar-10h/data
"""

import argparse
import csv
import json
import sys
from typing import Any

from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parser = parsing.add_verb(
    verbs,
    'evaluate',
    run,
    'measures the loss and accuracy of a checkpoint',
    __doc__,
    computes=True,
    takes_data=True,
    group='Use',
  )
  parsing.add_options(parser, 'run', '--checkpoint', '--data_dir', '--split')
  parsing.add_options(parser, '--classes', '--skip_unknown_classes')
  form = parser.add_mutually_exclusive_group()
  form.add_argument('--json', action='store_true', help='print one JSON object')
  form.add_argument('--csv', action='store_true', help='print a table of comma-separated values')


def run(arguments: argparse.Namespace) -> None:
  """Prints lines, one JSON object or a table."""
  if request := parsing.data_request(arguments):
    _on_other_data(arguments, request)
    return
  from cifar_jax.predict.evaluate import evaluate
  from cifar_jax.predict.measure import of_labels
  from cifar_jax.predict.run_data import usual_split
  from cifar_jax.trials import test_looks

  split = arguments.split or usual_split(arguments.run)
  results = evaluate(arguments.run, arguments.checkpoint, split, arguments.data_dir)
  if split == 'test':
    test_looks.record(arguments.run, 'evaluate', f'checkpoint {arguments.checkpoint}')
  line = (
    f'{results["split"]} loss {results["loss"]:.4f}, accuracy {100 * results["accuracy"]:.2f} %'
    f'{of_labels(results)} '
    f'({results["examples"]} examples of {results["data"]}, checkpoint of step {results["step"]})'
  )
  lines = [line]
  if split == 'test':
    from cifar_jax.cards import imported

    if imported.add_results(arguments.run, results):
      lines.append(f'card        {arguments.run / "README.md"} says so now')
  _print(arguments, results, [results], lines)


def _on_other_data(arguments: argparse.Namespace, request: Any) -> None:
  from cifar_jax.predict import classifier
  from cifar_jax.predict.measure import measure
  from cifar_jax.trials import test_looks

  network = classifier.load(arguments.run, arguments.checkpoint, arguments.data_dir)
  measured = measure(network, request, arguments.data_dir)
  if measured.own_test:
    note = f'checkpoint {arguments.checkpoint}, {measured.facts["data"]}'
    test_looks.record(arguments.run, 'evaluate', note)
  _print(arguments, measured.facts, measured.rows, measured.lines)


def _print(arguments: argparse.Namespace, facts: Any, rows: Any, lines: Any) -> None:
  """Prints what was measured in the form that is asked for."""
  if arguments.json:
    print(json.dumps(facts))
  elif arguments.csv:
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
  else:
    print('\n'.join(lines))
