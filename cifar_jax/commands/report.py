"""Writes a page about a run, and its images, to RUN/report/. The page needs no other file and no
network.

The report of another split or checkpoint goes to a subfolder, such as RUN/report/validation_best;
that of zoo:NAME goes to reports/zoo_NAME in the current folder.

  python -m cifar_jax report runs/cnn_adv --checkpoint=best

The report on other data than the run's own, named as for evaluate, goes to
RUN/report/<name of the data>.

  python -m cifar_jax report runs/cnn_adv --data.name=folder --data.dir=photos --classes=cars=car
"""

import argparse
import pathlib
from typing import Any

from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'writes a page about a run: curves, confusion, mistakes, filters'
  parser = parsing.add_verb(
    verbs, 'report', run, about, __doc__, computes=True, takes_data=True, group='Look'
  )
  parsing.add_options(parser, 'run', '--checkpoint', '--data_dir', '--split')
  parsing.add_options(parser, '--classes', '--skip_unknown_classes')
  parser.add_argument(
    '--mistakes',
    type=int,
    default=24,
    metavar='N',
    help='how many mistakes to show; -1: all; default: 24',
  )
  parser.add_argument(
    '--image',
    type=int,
    default=0,
    metavar='INDEX',
    help='index in the split of the image whose feature maps are shown; default: 0',
  )


def run(arguments: argparse.Namespace) -> None:
  """Writes the page and says where it is."""
  from cifar_jax.trials import test_looks

  if request := parsing.data_request(arguments):
    what, own_test, page, measured = _on_other_data(arguments, request)
  else:
    from cifar_jax.predict.run_data import usual_split
    from cifar_jax.report.report import write_report

    what = arguments.split or usual_split(arguments.run)
    own_test = what == 'test'
    page, measured = write_report(
      arguments.run,
      arguments.checkpoint,
      what,
      arguments.data_dir,
      arguments.mistakes,
      arguments.image,
    )
  if own_test:
    test_looks.record(arguments.run, 'report', f'checkpoint {arguments.checkpoint}')
  ranked = f', mean average precision {100 * measured["map"]:.2f} %' if 'map' in measured else ''
  print(
    f'{what} accuracy {100 * measured["accuracy"]:.2f} %, loss {measured["loss"]:.4f}{ranked}\n'
    f'look at     {page}'
  )


def _on_other_data(
  arguments: argparse.Namespace, request: Any
) -> tuple[str, bool, pathlib.Path, dict[str, float]]:
  """What was measured in words, whether it is the run's own test set, the page and the numbers."""
  from cifar_jax.predict import any_set, classifier
  from cifar_jax.report.report import write_report_on

  network = classifier.load(arguments.run, arguments.checkpoint, arguments.data_dir)
  other = any_set.open_set(request, network)
  page, measured = write_report_on(
    network, other, arguments.checkpoint, arguments.mistakes, arguments.image
  )
  what = f'{other.split} images of {other.name} ({other.remark}; {other.classes_line}):'
  return what, other.is_own_test, page, measured
