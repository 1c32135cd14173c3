"""Shows runs side by side, the best first, in a table for each data set, even while they train.

RUN may also be a folder that contains runs at any depth. Runs that differ only in their seeds are
one row: mean ± standard deviation, their number n, and the interval in which the mean of all such
runs lies with a probability of 95 %. --each lists them, too. An unfinished run has its own row.

  python -m cifar_jax compare runs
  python -m cifar_jax compare runs --sort=seconds --format=markdown
  python -m cifar_jax compare runs --html=leaderboard/index.html
  python -m cifar_jax compare runs --watch=10

Two folders or more are tested against the first: is there a difference, or is it chance?

  python -m cifar_jax compare runs/cnn_simple_seeds runs/cnn_adv_seeds
  python -m cifar_jax compare runs/a_seeds runs/b_seeds --difference=0.2

If both have the same seeds, they are compared seed by seed, otherwise by Welch's test. A
permutation test, which does not assume a normal distribution, is shown as well. One run of each
shows nothing. The
comparison uses the validation images, by which you may choose. --column=test_accuracy compares on
the test set instead, but if you choose by that, you have no test set left (docs/trials/index.md).
STUDY/test_looks.csv records that test numbers of a study's runs were shown, sorted by or tested.

A damaged run is named on stderr and left out; the exit status is then 1.
"""

import argparse
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cifar_jax.commands import parsing
from cifar_jax.utils.errors import UserError

if TYPE_CHECKING:
  from cifar_jax.trials.groups import Group

Row = dict[str, Any]

_LONGEST_WATCH = 1_000_000


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'shows a leaderboard of runs, and tests for differences'
  parser = parsing.add_verb(verbs, 'compare', run, about, __doc__, group='Look')
  parsing.add_options(parser, 'runs')
  parser.add_argument(
    '--sort', default='val_accuracy', help='column to sort by; default: val_accuracy'
  )
  parser.add_argument(
    '--order', default='best', choices=['best', 'ascending', 'descending'], help='default: best'
  )
  parser.add_argument('--columns', default='', help='separated by commas; default: the usual ones')
  parser.add_argument(
    '--tag', action='append', default=[], help='only runs with this tag; may be repeated'
  )
  parser.add_argument(
    '--format', default='table', choices=['table', 'markdown', 'csv', 'json'], help='default: table'
  )
  parser.add_argument(
    '--html',
    type=parsing.path,
    metavar='FILE',
    help='also write the page of the dashboard, as a file',
  )
  parser.add_argument(
    '--watch',
    type=float,
    default=0.0,
    metavar='SECONDS',
    help='update the table at this interval, until Ctrl-C',
  )
  parser.add_argument('--each', action='store_true', help='also list each run of a group')
  parser.add_argument(
    '--column', default='val_accuracy', help='what is tested; default: val_accuracy'
  )
  parser.add_argument(
    '--difference',
    type=float,
    metavar='D',
    help='say how many seeds it takes to see such a difference, in points of accuracy or in the '
    'unit of the column; default: 0.5 points',
  )


def run(arguments: argparse.Namespace) -> None:
  """Prints the table, once or again and again, and the tests."""
  from cifar_jax.report import leaderboard
  from cifar_jax.trials import differences, test_looks
  from cifar_jax.trials.groups import grouped

  columns = arguments.columns.split(',') if arguments.columns else leaderboard.DEFAULT_COLUMNS
  leaderboard.check_columns([*columns, arguments.sort])
  differences.check_column(arguments.column)
  if not 0 <= arguments.watch <= _LONGEST_WATCH:
    raise UserError(
      f'--watch={arguments.watch:g}: give a number of seconds, at most {_LONGEST_WATCH}'
    )
  if arguments.difference is not None:
    differences.check_wanted(arguments.column, arguments.difference)
  show = {
    'table': leaderboard.as_text,
    'markdown': leaderboard.as_markdown,
    'csv': leaderboard.as_csv,
    'json': leaderboard.as_json,
  }[arguments.format]
  seen, looks = '', set[pathlib.Path]()
  while True:
    rows, problems = _described(arguments)
    table = leaderboard.named_apart(leaderboard.told_apart(list(rows.values())))
    groups = grouped(table)
    text = show(_lines(arguments, groups), columns)
    tests: list[str] = []
    if len(arguments.runs) > 1 and arguments.format in ('table', 'markdown'):
      named, *_ = arguments.runs
      first = leaderboard.find_runs([named])
      tests = differences.tell(groups, first, named, arguments.column, arguments.difference)
      text = '\n'.join([text, '', *tests])
    if text != seen:
      for problem in problems:
        print(f'left out: {problem}', file=sys.stderr)
      if seen and sys.stdout.isatty():
        print('\033[2J\033[H', end='')  # clears the screen
      print(text, flush=True)
      if arguments.html:
        _write_page(arguments, table, groups)
        print(f'look at     {arguments.html}', flush=True)
      seen = text
      looked = _looked_at(arguments, columns, bool(tests))
      runs = {row['folder'] for row in table if any(row.get(name) is not None for name in looked)}
      test_looks.record_each(sorted(runs - looks), 'compare', ' and '.join(looked))
      looks |= runs  # the same numbers again are no other look
    if not arguments.watch:
      if problems:
        sys.exit(1)
      return
    time.sleep(arguments.watch)


def _looked_at(arguments: argparse.Namespace, columns: Sequence[str], tested: bool) -> list[str]:
  """What is measured on the test set and shown, sorted by, tested, or on the page."""
  from cifar_jax.trials.groups import MEASURED

  shown = [*columns, arguments.sort, *([arguments.column] if tested else [])]
  found = {name.removesuffix('_interval') for name in shown}
  return [
    name for name in MEASURED if name.startswith('test_') and (arguments.html or name in found)
  ]


def _described(arguments: argparse.Namespace) -> tuple[dict[pathlib.Path, Row], list[UserError]]:
  """The rows of the runs that have the tags, and what is wrong with others."""
  from cifar_jax.report import leaderboard

  rows: dict[pathlib.Path, Row] = {}
  problems: list[UserError] = []
  for run in leaderboard.find_runs(arguments.runs):
    try:
      rows[run] = leaderboard.describe(run)
    except UserError as error:
      problems.append(error)
  if problems and not rows:
    raise problems[0]
  rows = {run: row for run, row in rows.items() if set(arguments.tag) <= set(row['tags'].split())}
  if not rows:
    raise UserError(f'no run has the tag {" and ".join(arguments.tag)}')
  return rows, problems


def _write_page(
  arguments: argparse.Namespace, table: Sequence[Row], groups: 'Sequence[Group]'
) -> None:
  """Writes the page of the dashboard, which begins with what the arguments say."""
  from cifar_jax.dashboard import snapshot
  from cifar_jax.report import leaderboard

  best_first = leaderboard.COLUMNS[arguments.sort]
  descending = best_first if arguments.order == 'best' else arguments.order == 'descending'
  choices = {'sort': f'{"-" if descending else ""}{arguments.sort}', 'columns': arguments.columns}
  if any(len(group.rows) > 1 for group in groups):
    choices['group'] = 'seeds'
  # Studies are among the folders; runs that were not asked for stay out of the file.
  shown = [row['folder'] for row in table] if arguments.tag else arguments.runs
  snapshot.write_page(arguments.html, shown, choices)


def _ordered(arguments: argparse.Namespace, rows: Sequence[Row]) -> list[Row]:
  from cifar_jax.report import leaderboard

  ascending = {'best': None, 'ascending': True, 'descending': False}[arguments.order]
  return leaderboard.ordered(rows, arguments.sort, ascending)


def _lines(arguments: argparse.Namespace, groups: 'Sequence[Group]') -> list[Row]:
  """A row for each group, those of its runs below it if they are wished for."""
  single = all(len(group.rows) == 1 for group in groups)
  if single:
    return _ordered(arguments, [row for group in groups for row in group.rows])
  rows = _ordered(arguments, [{**group.row(), 'group': group} for group in groups])
  if not arguments.each:
    return rows
  found = []
  for row in rows:
    found.append(row)
    if len(row['group'].rows) > 1:
      found += [{**one, 'run': f'  {one["run"]}'} for one in row['group'].rows]
  return found
