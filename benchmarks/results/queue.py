"""Trains what the record still lacks, run after run: the items of benchmarks/queue.toml.

  python -m benchmarks queue --list                     # what is done, under way and to do
  python -m benchmarks queue --hardware=cpu --minutes=60
  python -m benchmarks queue --hardware=gpu --together=6 --only=cnn_pkaur_gpu,tutorial_4layer_gpu

Each item is a config with seeds; a run is one seed of it, trained by launch.py in the folder
RUNS/ITEM_seedS, with its output in RUNS/ITEM_seedS.log. The order is value per minute, highest
first, because there is less time than work; what does not fit into the rest of --minutes starts
only if nothing else runs. A finished run is added to the tables in results/ as by `collect`; a
run that has a row there, or a summary in its folder, is not trained again. One that fails is named,
the seeds of its item that have not begun are left, and the next item begins; the exit status is 1.
Each session in a log begins with the commit, which git or $CIFAR_JAX_COMMIT tells, and the command.

Ctrl-C, SIGTERM and the end of --minutes let the runs save and stop; the same command continues
them. A second Ctrl-C, or the first after the end of --minutes, ends everything at once. Options of
a config may follow and apply to every run; a trial with other options, such as
--config.max_steps=2, needs its own --runs and --results.
"""

import argparse
import math
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import command_line, tables
from benchmarks.results import collect
from benchmarks.results.queued.children import STATUS_OF_STOPS, Children, say
from benchmarks.results.queued.items import HARDWARE, Item, Place, Run, chosen, read, table_of
from cifar_jax.commands import parsing
from cifar_jax.startup import accelerators
from cifar_jax.utils.errors import UserError

QUEUE = pathlib.Path(__file__).parent.parent / 'queue.toml'
_LOOK_SECONDS = 0.1


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'the next runs that the record lacks'
  parser = parsing.add_verb(verbs, 'queue', run, about, __doc__, takes_overrides=True)
  parser.add_argument('--list', action='store_true', help='only say what is done and to do')
  parser.add_argument(
    '--hardware', choices=HARDWARE, help='items for it; default: what JAX uses, to --list all'
  )
  minutes = command_line.number(float, 0)
  parser.add_argument('--minutes', type=minutes, default=math.inf, help='stop after so many')
  parser.add_argument(
    '--together', type=command_line.number(int, 1), default=1, help='runs at a time; default: 1'
  )
  parser.add_argument('--only', metavar='NAME,...', help='items to take')
  parser.add_argument(
    '--runs',
    type=parsing.run_path,
    default=tables.RESULTS.parent / 'runs' / 'queue',
    help='folder of the runs; default: %(default)s',
  )
  parser.add_argument(
    '--results',
    type=parsing.path,
    default=tables.RESULTS,
    help='folder of the tables; default: %(default)s',
  )


def run(arguments: argparse.Namespace) -> None:
  """Lists the runs, or trains those that are not finished."""
  hardware = arguments.hardware
  if not (hardware or arguments.list or arguments.only):
    hardware = 'cpu' if accelerators.runs_on_cpu() else 'gpu'
  items = chosen(read(QUEUE), hardware, arguments.only)
  overrides = tuple(arguments.overrides)
  place = Place(arguments.runs.absolute(), arguments.results.absolute(), overrides)
  for item in items:
    table_of(item, overrides)  # a mistake is said before anything starts
  if arguments.list:
    print(listing(items, place))
    return
  if work(items, place, arguments.together, arguments.minutes):
    sys.exit(1)


def listing(items: Sequence[Item], place: Place) -> str:
  """A line for each item: how many of its runs are done, and the minutes of the others."""
  lines = []
  total = 0.0
  for item in items:
    runs = [Run(item, seed) for seed in item.seeds]
    left = [run for run in runs if not place.is_finished(run)]
    begun = [f'seed {run.seed} after epoch {epoch}' for run in left if (epoch := place.epoch(run))]
    state = ', '.join([f'{len(runs) - len(left)} of {len(runs)} done', *begun])
    minutes = len(left) * item.minutes
    total += minutes
    lines.append(f'{item.name:30} {item.hardware:3} {minutes:7.1f} min  {state:11}  {item.why}')
  return '\n'.join([*lines, f'{total / 60:.1f} h to do, one run after the other'])


def work(
  items: Sequence[Item], place: Place, together: int = 1, minutes: float = math.inf
) -> list[Run]:
  """Trains the runs that are not finished, some of them beside one another; returns those that
  failed.
  """
  deadline = time.monotonic() + 60 * minutes
  place.runs.mkdir(parents=True, exist_ok=True)
  runs = [Run(item, seed) for item in items for seed in item.seeds]
  for run in runs:  # what ended when nobody looked
    if place.has_summary(run) and not place.has_row(run, place.results):
      _keep(run, place)  # a damaged summary is mended by launch.py
  waiting = [run for run in runs if not place.has_row(run, place.results, tables.RESULTS)]
  failed: list[Run] = []
  with Children() as children:
    while True:
      left = deadline - time.monotonic()
      if left <= 0:
        children.ask_to_stop('the time is over')
      while len(children.running) < together and not children.asked:
        following = next_run(waiting, left / 60, alone=not children.running)
        if following is None:
          break
        waiting.remove(following)
        children.start(following, place, together)
      if not children.running:
        return failed
      time.sleep(_LOOK_SECONDS)
      for run, status in children.ended():
        if not _look_at(run, status, place, children.asked):
          failed.append(run)
          waiting = [other for other in waiting if other.item != run.item]


def next_run(waiting: Sequence[Run], minutes: float, alone: bool) -> Run | None:
  """The first run that fits into the minutes that are left. One that does not fit must not slow
  down others: it is the first, if nothing else runs, or None.
  """
  fitting = (run for run in waiting if run.item.minutes <= minutes)
  return next(fitting, waiting[0] if waiting and alone else None)


def _look_at(run: Run, status: int, place: Place, asked: bool) -> bool:
  """Says what became of a run that has ended, and keeps it if it is finished; False: it failed."""
  if place.has_summary(run) and not status:
    return _keep(run, place)
  if asked and (not status or status in STATUS_OF_STOPS):
    say(f'{run.name} stopped after epoch {place.epoch(run) or "0"}; the same command goes on')
    return True
  lines = place.log(run).read_text('utf-8', errors='replace').split('\n')
  said = [line for line in lines if line.strip()]
  errors = [line for line in said if line.startswith('error: ')]
  say(f'{run.name} failed with status {status}: {(errors or said)[-1]} ({place.log(run)})')
  return False


def _keep(run: Run, place: Place) -> bool:
  """Adds a finished run to its table; False if its files are damaged."""
  from cifar_jax.run_dir import run_files

  try:
    table = table_of(run.item, place.overrides)
    collect.collect([place.runs / run.name], table, place.results)
  except (UserError, OSError) as error:  # its files are damaged, or the disk is full
    say(f'{run.name} failed: {error}')
    return False
  summary = run_files.read_summary(place.runs / run.name)
  accuracy = 'val' if table == 'photographs' else 'test'
  say(
    f'{run.name} finished: {accuracy} accuracy {100 * summary[f"{accuracy}_accuracy"]:.2f} % '
    f'in {summary["seconds"] / 60:.1f} min of training'
  )
  return True
