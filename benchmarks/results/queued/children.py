"""The processes that train the runs of a queue, and how they are stopped."""

import contextlib
import functools
import os
import shlex
import signal
import subprocess
import sys
import time

from benchmarks import tables
from benchmarks.results import collect
from benchmarks.results.queued.items import Place, Run
from cifar_jax.startup import process

LAUNCHER: tuple[str, ...] = (sys.executable, 'launch.py')  # in the folder of this project
_STOPS = (signal.SIGINT, signal.SIGTERM)
# Of a process that a signal ended, and of one that said so itself; 2 is that of a user's mistake.
STATUS_OF_STOPS = {status for number in _STOPS for status in (-number, 128 + number)}
# What JAX takes of a GPU's memory at its start, by its name of today and the older one: not both.
_FRACTIONS = ('XLA_CLIENT_MEM_FRACTION', 'XLA_PYTHON_CLIENT_MEM_FRACTION')
_GPU_MEMORY = 0.9  # the share of it that runs beside one another have together


class Children:
  """The processes that train. At the end of the block, however it ends, they save and stop.

  Attributes:
    running: The run of each.
    asked: Whether they were asked to stop.
  """

  def __init__(self) -> None:
    self.running: dict[Run, subprocess.Popen[bytes]] = {}
    self.asked = False
    self._told: set[Run] = set()

  def __enter__(self) -> 'Children':
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
    if together > 1 and not any(name in environment for name in _FRACTIONS):
      environment[_FRACTIONS[0]] = f'{_GPU_MEMORY / together:.3f}'
    with place.log(run).open('ab') as log:
      log.write(f'{collect.log_header(commit())}{shlex.join(command)}\n'.encode())
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
    say(f'{run.name} runs{begun}; about {run.item.minutes:g} min in all')

  def ask_to_stop(self, why: str) -> None:
    """Starts nothing more, and lets what runs save and stop as soon as `ended` is called."""
    if why and not self.asked and self.running:
      say(f'{why}: what runs saves and stops')
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


@functools.cache
def commit() -> str:
  """The commit of this project, with '-dirty' if files differ from it; 'unknown' where neither git
  nor, in a copy without git, $CIFAR_JAX_COMMIT tells it.
  """
  root = tables.RESULTS.parent
  command = ['git', f'--git-dir={root}/.git', f'--work-tree={root}', 'describe', '--always']
  if given := os.environ.get('CIFAR_JAX_COMMIT'):
    return given
  with contextlib.suppress(OSError):
    found = subprocess.run([*command, '--dirty', '--exclude=*'], capture_output=True, text=True)
    if not found.returncode:
      return found.stdout.strip()
  return 'unknown'


def say(line: str) -> None:
  """Prints a line with the time of day."""
  print(f'{time.strftime("%T")}  {line}', flush=True)
