"""Draws the runs of results/runs.csv beside what their articles report: docs/pictures/curves.png,
and six of them for the README, docs/pictures/six_curves.png.

  python -m benchmarks draw_curves

One panel for each published system, length (eight epochs or more), hardware and precision, with the
first of its seeds: accuracy on the training images while training and after each epoch on those
that validate, and a ring for each figure of the article.
"""

import argparse
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import tables
from benchmarks.results.reproduction import Row, hardware_of, precision_of, system_of
from cifar_jax.commands import parsing

_COLUMNS = 3
_FEWEST_EPOCHS = 8  # of a run that is drawn
# One of each article that has a curve, the network that loses what it learned, and the fast recipe.
_SIX = ('cnn_simple', 'cnn_adv', 'tutorial_6layer_gpu', 'episode2', 'p5_dcnn', 'airbench94')


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parsing.add_verb(verbs, 'draw_curves', run, 'curves beside what articles report', __doc__)


def run(_: argparse.Namespace) -> None:
  """Writes the pictures."""
  from cifar_jax.figures import charts

  published = tables.read(tables.RESULTS / 'published.csv')
  systems = [(row['system'], row['options']) for row in published]
  runs = [
    run
    for run in tables.read(tables.RESULTS / 'runs.csv')
    if system_of(run['command']) in systems and int(run['epochs']) >= _FEWEST_EPOCHS
  ]
  runs.sort(key=lambda run: systems.index(system_of(run['command'])))
  shown = first_seeds(runs)
  six = [run for run in shown if run['run'] in _SIX]
  pictures = tables.RESULTS.parent / 'docs' / 'pictures'
  for name, chosen in (('curves', shown), ('six_curves', six)):
    figure = charts.styled(draw)(chosen, published, tables.RESULTS / 'curves')
    figure.savefig(pictures / f'{name}.png', dpi=90, facecolor='white')


def first_seeds(runs: Sequence[Row]) -> list[Row]:
  """Of rows of runs.csv that differ in their seed alone, the one with the lowest, in its place."""
  first: dict[tuple[object, ...], Row] = {}
  for run in runs:
    command = run['command']
    way = system_of(command), run['epochs'], hardware_of(run), precision_of(command)
    if way not in first or int(run['seed']) < int(first[way]['seed']):
      first[way] = run
  return list(first.values())


def draw(
  runs: Sequence[Mapping[str, str]], published: Sequence[Mapping[str, str]], curves: pathlib.Path
) -> Any:
  """The figure.

  Args:
    runs: Rows of runs.csv.
    published: Rows of published.csv.
    curves: The folder with NAME.csv for each run.
  """
  from cifar_jax.figures import charts

  height = -(-len(runs) // _COLUMNS)
  made, axes = charts.figure(
    4.2 * _COLUMNS, 2.9 * height + 0.4, nrows=height, ncols=_COLUMNS, squeeze=False, sharey=True
  )
  for axis in axes.flat[len(runs) :]:
    axis.set_visible(False)
  for axis, run in zip(axes.flat, runs, strict=False):
    figures = [
      (int(row['epochs']), float(row['accuracy']))
      for row in published
      if row['accuracy'] and (row['system'], row['options']) == system_of(run['command'])
    ]
    _panel(axis, run, tables.read(curves / f'{run["run"]}.csv'), figures)
  for axis in axes[:, 0]:
    axis.set_ylabel('accuracy (%)')
  for axis in axes.flat[max(0, len(runs) - _COLUMNS) : len(runs)]:  # the lowest of each column
    axis.set_xlabel('epoch')
  named = {
    label: line
    for axis in axes.flat
    for line, label in zip(*axis.get_legend_handles_labels(), strict=True)
  }
  made.legend(list(named.values()), list(named), loc='outside upper center', ncols=len(named))
  return made


def _panel(
  axis: Any,
  run: Mapping[str, str],
  epochs: Sequence[Mapping[str, str]],
  figures: Sequence[tuple[int, float]],
) -> None:
  """A run's curves and the article's figures (epochs, accuracy in %), those not far beyond it."""
  from cifar_jax.figures import charts

  length, tested = int(run['epochs']), run['split_note'] == 'test used as validation'
  watched = ('test', charts.VALIDATION) if tested else ('validation', charts.OTHERS[2])
  for name, (label, color) in (('train', ('training', charts.TRAIN)), ('val', watched)):
    points = [
      (int(row['epoch']), 100 * float(row[f'{name}_accuracy']))
      for row in epochs
      if row[f'{name}_accuracy'] not in ('', 'nan')
    ]
    axis.plot(*zip(*points, strict=True), color=color, label=label, linewidth=1.5)
  if not tested:
    at_end = {'color': charts.OTHERS[0], 'label': 'test at the end', 'clip_on': False}
    axis.plot(length, 100 * float(run['test_accuracy']), 's', **at_end)
  shown = [figure for figure in figures if figure[0] <= 1.5 * length]
  if shown:
    ring = {'color': charts.INK, 'fillstyle': 'none', 'markersize': 9, 'clip_on': False}
    axis.plot(*zip(*shown, strict=True), 'o', label='published', **ring)
  precision = precision_of(run['command'])
  axis.set_title(run['run'] + ('' if precision == 'float32' else f' ({precision})'))
  axis.set_ylim(20, 100)
  axis.set_xlim(left=0)
  axis.locator_params(axis='x', integer=True, nbins=6)
