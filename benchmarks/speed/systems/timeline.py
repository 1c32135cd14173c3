"""Runs launch.py in this process and notes where its time goes; see ../start_profile.py.

  python -m benchmarks.speed.systems.timeline START FILE [FLAG ...]

START is the time at which the process was asked for, in seconds since the epoch. At the end FILE
holds {"stages": {name: seconds}, "first_step": seconds, "programs": {name: seconds}}. The stages
are those of the main thread, each without those within it; programs may be compiled beside them.
"""

import builtins
import collections
import contextlib
import functools
import json
import pathlib
import runpy
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from cifar_jax.startup import process

OTHER = 'other'  # what is in no stage
# Functions by module, or class of a module, and the stage that a call of each is.
STAGES = {
  ('cifar_jax.startup.xla_flags', 'set_flags'): 'flags',
  ('cifar_jax.config', 'load'): 'config',
  ('cifar_jax.data', 'load_splits'): 'data',
  ('cifar_jax.data', 'with_shared_images_noted'): 'data',
  ('cifar_jax.trainer.step_memory', 'prepare'): 'checks and description',
  ('cifar_jax.analysis.layer_table', 'describe'): 'checks and description',
  ('cifar_jax.trainer.build', 'Trainer.init'): 'initialization',
  ('cifar_jax.trainer.session', 'Session._dispatch'): 'first step',
  ('cifar_jax.trainer.evaluator', 'Evaluator.__call__'): 'validation',
  ('cifar_jax.run_dir.checkpoint', 'Checkpoints.save'): 'saving',
}
# Events of JAX, each in the stage above that it happens in.
_EVENTS = {
  'jaxpr_trace_duration': 'tracing',
  'jaxpr_to_mlir_module_duration': 'lowering',
  'backend_compile_duration': 'compilation',
}


class Timeline:
  """The time of the main thread, each moment in the innermost stage that is open."""

  def __init__(self, start: float) -> None:
    self.start, self._mark = start, start
    self.first_step = 0.0
    self.seconds: dict[str, float] = collections.defaultdict(float)
    self.programs: dict[str, float] = collections.defaultdict(float)
    self._open = ['interpreter']

  @contextlib.contextmanager
  def stage(self, name: str) -> Iterator[None]:
    """The time within belongs to `name`, but for that of stages within."""
    self._until_now()
    self._open.append(name)
    try:
      yield
    finally:
      self._until_now()
      self._open.pop()

  def began(self) -> None:
    """Ends the stage before the first line of Python."""
    self._until_now()
    self._open = [OTHER]

  def event(self, name: str, seconds: float, **details: Any) -> None:
    """Takes the time of an event of JAX that has just ended out of the stage it happened in."""
    kind = _EVENTS.get(name.rpartition('/')[2])
    if kind is None:
      return
    if kind == 'compilation':
      self.programs[str(details.get('fun_name', '?'))] += seconds
    if threading.current_thread() is threading.main_thread():
      self._until_now()
      seconds = min(seconds, self.seconds[self._open[-1]])  # events within events were taken out
      self.seconds[self._open[-1]] -= seconds
      self.seconds[f'{self._open[-1]}: {kind}'] += seconds

  def timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
    """The function, a call of which by the main thread is the stage."""

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
      if threading.current_thread() is not threading.main_thread():
        return function(*arguments, **options)
      with self.stage(stage):
        result = function(*arguments, **options)
      if stage == 'first step' and not self.first_step:
        self.first_step = time.time() - self.start
      return result

    return call

  def write(self, path: pathlib.Path) -> None:
    """Writes all of it."""
    self._until_now()
    found = {'stages': self.seconds, 'first_step': self.first_step, 'programs': self.programs}
    path.write_text(json.dumps(found), 'utf-8')

  def _until_now(self) -> None:
    now = time.time()
    self.seconds[self._open[-1]] += now - self._mark
    self._mark = now


def watch_imports(timeline: Timeline) -> None:
  """Makes a stage of the imports of each package, and of the functions in `STAGES`."""
  plain, waiting = builtins.__import__, dict(STAGES)

  def timed_import(
    name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
  ) -> Any:
    there = sys.modules.get(name)
    known = there is not None and all(hasattr(there, one) for one in fromlist or ())
    if level or known or threading.current_thread() is not threading.main_thread():
      return plain(name, globals, locals, fromlist, level)
    with timeline.stage(f'import {name.partition(".")[0]}'):
      module = plain(name, globals, locals, fromlist, level)
    if name == 'jax' and not there:
      module.monitoring.register_event_duration_secs_listener(timeline.event)
    if name.startswith('cifar_jax'):
      for (path, attribute), stage in list(waiting.items()):
        owner, _, method = attribute.rpartition('.')
        holder = sys.modules.get(path)
        holder = getattr(holder, owner, None) if owner and holder else holder
        if holder is not None and hasattr(holder, method):
          setattr(holder, method, timeline.timed(getattr(holder, method), stage))
          del waiting[path, attribute]
    return module

  builtins.__import__ = timed_import


def main(start: str, path: str, *flags: str) -> None:
  """Runs launch.py with the flags."""
  timeline = Timeline(float(start))
  timeline.began()
  watch_imports(timeline)
  leave, written = process.leave, pathlib.Path(path)

  def write_and_leave(status: object = 0) -> None:
    timeline.write(written)
    leave(status)

  process.leave = write_and_leave
  sys.argv = ['launch.py', *flags]
  runpy.run_path('launch.py', run_name='__main__')


if __name__ == '__main__':
  main(*sys.argv[1:])
