"""Trains what the record still lacks, run after run: the items of benchmarks/queue.toml.

  python -m benchmarks queue --list                     # what is done, under way and to do
  python -m benchmarks queue --hardware=cpu --minutes=60
  python -m benchmarks queue --hardware=gpu --together=6 --only=cnn_pkaur_gpu,tutorial_4layer_gpu

Each item is a config with seeds; a run is one seed of it, trained by launch.py in the folder
RUNS/ITEM_seedS, with its output in RUNS/ITEM_seedS.log. The order is value per minute, highest
first, because time ends before the queue does; runs that fit into what is left of --minutes go
before those that do not. A finished run is added to the tables in results/ as by `collect`; a run
that has a row there, or a summary in its folder, is not trained again. One that fails is named, the
seeds of its item that have not begun are left, and the next item begins; the exit status is 1 then.

Ctrl-C, SIGTERM and the end of --minutes let the runs save and stop; the same command goes on with
them. A second Ctrl-C ends all at once. Options of a config, after these, go to every run: a trial
with others, such as --config.max_steps=2, needs a --runs and a --results of its own.
"""

import argparse
import contextlib
import functools
import math
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks import command_line, tables
from benchmarks.results import collect
from cifar_jax.commands import parsing
from cifar_jax.startup import accelerators, process
from cifar_jax.utils import locks
from cifar_jax.utils.errors import UserError

QUEUE = pathlib.Path(__file__).parent.parent / 'queue.toml'
LAUNCHER: tuple[str, ...] = (sys.executable, 'launch.py')  # in the folder of this project
HARDWARE = ('cpu', 'gpu')
_GPU_MEMORY = 0.9  # the share of it that runs beside one another have together
_LOOK_SECONDS = 0.1
_STOPS = (signal.SIGINT, signal.SIGTERM)
_STATUS_OF_STOPS = [base + number for base in (0, 128) for number in _STOPS]


class Item(NamedTuple):
  """A system to train.

  Attributes:
    name: Its own, from which those of its runs are made.
    config: The name of a file in configs/.
    overrides: Options of the config, '--config.epochs=150'.
    seeds: A run for each.
    hardware: 'cpu', 'gpu' or 'any': where its minutes are bearable.
    minutes: About how long one run takes.
    value: Of one run, compared with those of other items.
    why: What it stands beside.
  """

  name: str
  config: str
  overrides: tuple[str, ...]
  seeds: tuple[int, ...]
  hardware: str
  minutes: float
  value: float
  why: str


class Run(NamedTuple):
  """One seed of an item."""

  item: Item
  seed: int

  @property
  def name(self) -> str:
    """The name of its folder and of its row."""
    return f'{self.item.name}_seed{self.seed}'

  def options(self, overrides: Sequence[str]) -> list[str]:
    """What launch.py is to be told but for the folder; later overrides win."""
    config = f'--config=configs/{self.item.config}.py'
    return [config, *self.item.overrides, *overrides, f'--config.seed={self.seed}']


class Place(NamedTuple):
  """Where runs and their rows are.

  Attributes:
    runs: Holds a folder and a log for each run.
    results: Holds the tables to which finished runs are added.
    overrides: Options that every run gets.
  """

  runs: pathlib.Path
  results: pathlib.Path
  overrides: tuple[str, ...] = ()

  def is_finished(self, run: Run) -> bool:
    """Whether its folder has a summary or a table its row."""
    return self.has_summary(run) or self.has_row(run)

  def has_summary(self, run: Run) -> bool:
    """Whether it was trained to its end in its folder."""
    from cifar_jax.run_dir.run_files import SUMMARY

    return (self.runs / run.name / SUMMARY).exists()

  def has_row(self, run: Run, kept: bool = True) -> bool:
    """Whether a table has its row: that in its place or, if `kept`, that of the project."""
    command = shlex.join(['launch.py', *run.options(self.overrides)])
    table = table_of(run, self.overrides)
    key = collect.key_of(table)
    row = collect.row_of(run.name, {'command': command, 'seed': run.seed}, table)
    folders = {self.results, *([tables.RESULTS] if kept else [])}
    rows = [row for folder in folders for row in tables.read(folder / f'{table}.csv')]
    return key(row) in map(key, rows)

  def epoch(self, run: Run) -> str:
    """The last epoch in its folder, '0' before that; '' if it has not begun."""
    from cifar_jax.run_dir.history import CSV_NAME

    rows = tables.read(self.runs / run.name / CSV_NAME)
    return rows[-1]['epoch'] if rows else '0' * (self.runs / run.name).exists()


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'the next runs that the record lacks'
  parser = parsing.add_verb(verbs, 'queue', run, about, __doc__, takes_overrides=True)
  parser.add_argument('--list', action='store_true', help='only say what is done and to do')
  parser.add_argument(
    '--hardware', choices=HARDWARE, help='items for it; default: what JAX uses, for --list all'
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
  if not hardware and not arguments.list:
    hardware = 'cpu' if accelerators.runs_on_cpu() else 'gpu'
  items = chosen(read(QUEUE), hardware, arguments.only)
  overrides = tuple(arguments.overrides)
  place = Place(arguments.runs.absolute(), arguments.results.absolute(), overrides)
  for item in items:
    table_of(Run(item, item.seeds[0]), overrides)  # a mistake is said before anything starts
  if arguments.list:
    print(listing(items, place))
    return
  if work(items, place, arguments.together, arguments.minutes):
    sys.exit(1)


def read(path: pathlib.Path) -> list[Item]:
  """The items of a queue file, in their order.

  Raises:
    UserError: it is no TOML, or an item lacks a value or has one that is of no use.
  """
  try:
    content = tomllib.loads(path.read_text('utf-8'))
  except (OSError, ValueError) as error:
    raise UserError(f'{path} cannot be read: {error}') from error
  return in_order([_item(path, name, values) for name, values in content.items()])


def in_order(items: Sequence[Item]) -> list[Item]:
  """Items by value per minute, highest first; equal ones as they stand."""
  return sorted(items, key=lambda item: -item.value / item.minutes)


def _item(path: pathlib.Path, name: str, values: Any) -> Item:
  fields = set(Item._fields) - {'name'}
  if not isinstance(values, dict) or set(values) != fields:
    raise UserError(f'{path}: [{name}] must have {", ".join(sorted(fields))} and nothing else')
  lists = {key: tuple(values[key]) for key in ('overrides', 'seeds')}
  item = Item(**{**values, 'name': name, **lists})
  if item.hardware not in (*HARDWARE, 'any') or not item.seeds or item.minutes <= 0:
    raise UserError(f"{path}: [{name}] needs hardware 'cpu', 'gpu' or 'any', seeds and minutes")
  return item


def chosen(items: Sequence[Item], hardware: str | None, only: str | None) -> list[Item]:
  """The items for some hardware, or those of some names.

  Raises:
    UserError: there is no item of such a name.
  """
  if hardware:
    items = [item for item in items if item.hardware in (hardware, 'any')]
  if only is None:
    return list(items)
  names = only.split(',')
  known = [item.name for item in items]
  for name in names:
    if name not in known:
      raise UserError(f'--only: {name!r} is not among {", ".join(known)}')
  return [item for item in items if item.name in names]


@functools.lru_cache
def table_of(run: Run, overrides: tuple[str, ...] = ()) -> str:
  """The table to which a run belongs: 'photographs' or 'runs'.

  Raises:
    UserError: there is no such config, or an option is wrong.
  """
  from cifar_jax import config as configs

  path, *options = run.options(overrides)
  config = configs.load(str(tables.RESULTS.parent / path.removeprefix('--config=')), options)
  return 'photographs' if config.data.name == 'folder' else 'runs'


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
  failed: list[Run] = []
  for run in runs:  # what ended when nobody looked
    if place.has_summary(run) and not place.has_row(run, kept=False) and not _keep(run, place):
      failed.append(run)
  waiting = [run for run in runs if not place.is_finished(run)]
  with _Children() as children:
    while True:
      left = deadline - time.monotonic()
      if left <= 0:
        children.ask_to_stop('the time is over')
      while waiting and len(children.running) < together and not children.asked:
        run = next_run(waiting, left / 60)
        waiting.remove(run)
        children.start(run, place, together)
      if not children.running:
        return failed
      time.sleep(_LOOK_SECONDS)
      for run, status in children.ended():
        if not _look_at(run, status, place, children.asked):
          failed.append(run)
          waiting = [other for other in waiting if other.item != run.item]


def next_run(waiting: Sequence[Run], minutes: float) -> Run:
  """The first run that fits into the minutes that are left; the first, if none does."""
  return next((run for run in waiting if run.item.minutes <= minutes), waiting[0])


class _Children:
  """The processes that train. At the end of the block, however it ends, they save and stop.

  Attributes:
    running: The run of each.
    asked: Whether they were asked to stop.
  """

  def __init__(self) -> None:
    self.running: dict[Run, subprocess.Popen[bytes]] = {}
    self.asked = False
    self._told: set[Run] = set()

  def __enter__(self) -> '_Children':
    self._before = {number: signal.signal(number, self._on_signal) for number in _STOPS}
    return self

  def __exit__(self, *_: object) -> None:
    self.ask_to_stop('')
    self.ended()
    for child in self.running.values():
      child.wait()
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def start(self, run: Run, place: Place, together: int) -> None:
    """Begins a run, or goes on with it; what it says is added to its log."""
    folder = place.runs / run.name
    config, *options = run.options(place.overrides)
    command = [*LAUNCHER, config, f'--workdir={folder}', *options]
    environment = dict(os.environ)
    if together > 1:
      environment.setdefault('XLA_PYTHON_CLIENT_MEM_FRACTION', f'{_GPU_MEMORY / together:.3f}')
    with log_of(run, place).open('ab') as log:
      log.write(f'{time.strftime("%F %T")} {commit()} {shlex.join(command)}\n'.encode())
      log.flush()
      self.running[run] = subprocess.Popen(
        command,
        cwd=tables.RESULTS.parent,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C in a terminal reaches this process alone
      )
    epoch = place.epoch(run)
    begun = f', after epoch {epoch}' if epoch else ''
    _say(f'{run.name} runs{begun}; about {run.item.minutes:g} min in all')

  def ask_to_stop(self, why: str) -> None:
    """Starts nothing more, and lets what runs save and stop as soon as `ended` is called."""
    if why and not self.asked and self.running:
      _say(f'{why}: what runs saves and stops')
    self.asked = True

  def ended(self) -> list[tuple[Run, int]]:
    """The runs that have ended since the last call, and their exit status."""
    for run in self.running.keys() - self._told if self.asked else ():
      self.running[run].terminate()
      self._told.add(run)
    found = [
      (run, status) for run, child in self.running.items() if (status := child.poll()) is not None
    ]
    for run, _ in found:
      del self.running[run]
    return found

  def _on_signal(self, number: int, _: object) -> None:
    if self.asked:
      for child in self.running.values():
        child.kill()
      process.end(128 + number)
    self.asked = True
    process.say('what runs saves and stops; Ctrl-C again to end at once')


def _look_at(run: Run, status: int, place: Place, asked: bool) -> bool:
  """Says what became of a run that has ended, and keeps it if it is finished; False: it failed."""
  if place.has_summary(run) and not status:
    return _keep(run, place)
  if asked and (not status or abs(status) in _STATUS_OF_STOPS):
    _say(f'{run.name} stopped after epoch {place.epoch(run) or "0"}; the same command goes on')
    return True
  lines = log_of(run, place).read_text('utf-8', errors='replace').split('\n')
  said = [line for line in lines if line.strip()]
  errors = [line for line in said if line.startswith('error: ')]
  _say(f'{run.name} failed with status {status}: {(errors or said)[-1]} ({log_of(run, place)})')
  return False


def _keep(run: Run, place: Place) -> bool:
  """Adds a finished run to its table; False if its files are damaged."""
  from cifar_jax.run_dir import run_files

  try:
    with locks.locked(place.runs / '.lock', lambda: None):  # from another queue
      table = table_of(run, place.overrides)
      collect.collect([place.runs / run.name], table, place.results)
  except UserError as error:
    _say(f'{run.name} failed: {error}')
    return False
  summary = run_files.read_summary(place.runs / run.name)
  accuracy = 'val' if table == 'photographs' else 'test'
  _say(
    f'{run.name} finished: {accuracy} accuracy {100 * summary[f"{accuracy}_accuracy"]:.2f} % '
    f'in {summary["seconds"] / 60:.1f} min of training'
  )
  return True


def log_of(run: Run, place: Place) -> pathlib.Path:
  """The file with the output of all sessions of a run."""
  return place.runs / f'{run.name}.log'


@functools.cache
def commit() -> str:
  """The commit of this project, with '-dirty' if files differ from it; 'no commit' without git."""
  command = ['git', 'describe', '--always', '--dirty', '--exclude=*']
  with contextlib.suppress(OSError):
    found = subprocess.run(command, cwd=tables.RESULTS.parent, capture_output=True, text=True)
    if not found.returncode:
      return found.stdout.strip()
  return 'no commit'


def _say(line: str) -> None:
  print(f'{time.strftime("%T")}  {line}', flush=True)
