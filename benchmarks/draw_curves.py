"""Draws the runs of results/runs.csv beside what their articles report, as a picture.

  python -m benchmarks.draw_curves                  # results/curves.png

A panel a run of a published system: accuracy on the training images while training and after each
epoch on those that validate, and a ring for each figure of the article.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.collect_runs import RESULTS, read
from benchmarks.reproduction import precision_of, system_of
from cifar_jax.report import charts

_COLUMNS = 3


@charts.styled
def draw(runs: Sequence[Mapping[str, str]], published: Sequence[Mapping[str, str]]) -> Any:
  """The figure.

  Args:
    runs: lines of runs.csv, whose curves are in results/curves.
    published: lines of published.csv.
  """
  height = -(-len(runs) // _COLUMNS)
  made, axes = charts.figure(
    4.2 * _COLUMNS, 2.9 * height + 0.4, nrows=height, ncols=_COLUMNS, squeeze=False, sharey=True
  )
  for axis in axes.flat[len(runs) :]:
    axis.set_visible(False)
  for axis, run in zip(axes.flat, runs, strict=False):
    epochs = read(RESULTS / 'curves' / f'{run["run"]}.csv')
    tested = run['remark'] == 'test used as validation'
    names = {'train': 'training', 'val': 'test' if tested else 'validation'}
    watched = charts.VALIDATION if tested else charts.OTHERS[2]
    for name, colour in (('train', charts.TRAIN), ('val', watched)):
      points = [
        (int(row['epoch']), 100 * float(row[f'{name}_accuracy']))
        for row in epochs
        if row[f'{name}_accuracy'] not in ('', 'nan')
      ]
      axis.plot(*zip(*points, strict=True), color=colour, label=names[name], linewidth=1.5)
    if not tested:
      test = 100 * float(run['test_accuracy'])
      axis.plot(
        int(run['epochs']),
        test,
        's',
        color=charts.OTHERS[0],
        label='test at the end',
        clip_on=False,
      )
    figures = [
      (int(row['epochs']), float(row['accuracy']))
      for row in published
      if row['accuracy'] and (row['system'], row['options']) == system_of(run['command'])
    ]
    limit = 1.5 * int(run['epochs'])
    shown = [(epoch, accuracy) for epoch, accuracy in figures if epoch <= limit]
    if shown:
      axis.plot(
        *zip(*shown, strict=True), 'o', color=charts.INK, fillstyle='none', markersize=9,
        label='published', clip_on=False,
      )  # fmt: skip
    precision = precision_of(run['command'])
    axis.set_title(run['run'] + ('' if precision == 'float32' else f' ({precision})'))
    axis.set_ylim(20, 100)
    axis.set_xlim(left=0)
    axis.locator_params(axis='x', integer=True, nbins=6)
  for axis in axes[:, 0]:
    axis.set_ylabel('accuracy (%)')
  for axis in axes[-1]:
    axis.set_xlabel('epoch')
  named = {
    label: line
    for axis in axes.flat
    for line, label in zip(*axis.get_legend_handles_labels(), strict=True)
  }
  made.legend(list(named.values()), list(named), loc='outside upper center', ncols=len(named))
  return made


def main(results: pathlib.Path = RESULTS) -> None:
  """Writes the picture of the published systems that were trained for eight epochs or more."""
  published = read(results / 'published.csv')
  systems = [(row['system'], row['options']) for row in published]
  runs = [run for run in read(results / 'runs.csv') if system_of(run['command']) in systems]
  long = [run for run in runs if int(run['epochs']) >= 8]
  long.sort(key=lambda run: systems.index(system_of(run['command'])))
  draw(long, published).savefig(results / 'curves.png', dpi=90, facecolor='white')


if __name__ == '__main__':
  main()
