"""Runs side by side, data set by data set, the best first; also while they go on.

RUN may be a folder of runs. A damaged run is named on stderr and left out; the exit status is then
1.

  python -m cifar_jax compare runs
  python -m cifar_jax compare runs --sort=seconds --format=markdown
  python -m cifar_jax compare runs --html=leaderboard/index.html
  python -m cifar_jax compare runs --watch=10
"""

import argparse
import sys
import time
from typing import Any

from cifar_jax.commands import parsing
from cifar_jax.utils.errors import UserError


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'a leaderboard of runs, and charts of them'
  parser = parsing.add_verb(verbs, 'compare', run, about, __doc__)
  parsing.add_options(parser, 'runs')
  parser.add_argument('--sort', default='val_accuracy', help='column; default: val_accuracy')
  parser.add_argument(
    '--order', default='best', choices=['best', 'ascending', 'descending'], help='default: best'
  )
  parser.add_argument('--columns', default='', help='with commas between; default: the usual ones')
  parser.add_argument(
    '--tag', action='append', default=[], help='only runs with this tag; may be repeated'
  )
  parser.add_argument(
    '--format', default='table', choices=['table', 'markdown', 'csv', 'json'], help='default: table'
  )
  parser.add_argument(
    '--html', type=parsing.path, metavar='FILE', help='also write a page with charts'
  )
  parser.add_argument(
    '--watch', type=float, default=0.0, metavar='SECONDS', help='look again so often, until Ctrl-C'
  )


def run(arguments: argparse.Namespace) -> None:
  """Prints the table, once or again and again."""
  from cifar_jax.report import leaderboard

  columns = arguments.columns.split(',') if arguments.columns else leaderboard.DEFAULT_COLUMNS
  leaderboard.check_columns([*columns, arguments.sort])
  if arguments.watch < 0:
    raise UserError(f'--watch={arguments.watch:g}: give a number of seconds')
  show = {
    'table': leaderboard.as_text,
    'markdown': leaderboard.as_markdown,
    'csv': leaderboard.as_csv,
    'json': leaderboard.as_json,
  }[arguments.format]
  ascending = {'best': None, 'ascending': True, 'descending': False}[arguments.order]
  seen = ''
  while True:
    rows, problems = {}, []
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
    table = leaderboard.told_apart(list(rows.values()))
    table = leaderboard.ordered(table, arguments.sort, ascending)
    text = show(table, columns)
    if text != seen:
      for problem in problems:
        print(f'left out: {problem}', file=sys.stderr)
      if seen and sys.stdout.isatty():
        print('\033[2J\033[H', end='')  # clears the screen
      print(text, flush=True)
      if arguments.html:
        leaderboard.write_page(arguments.html, table, columns)
        print(f'look at     {arguments.html}', flush=True)
      seen = text
    if not arguments.watch:
      if problems:
        sys.exit(1)
      return
    time.sleep(arguments.watch)
