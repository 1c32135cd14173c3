"""Runs launch.py as on a system that has nothing of POSIX: python without_posix.py ARGUMENTS.

Only this package is refused what other packages, made for the system that is there, may use. A
TensorFlow that is installed refuses to be imported by anybody.
"""

import builtins
import os
import runpy
import signal
import sys
from typing import Any

MODULES = {'fcntl', 'grp', 'pty', 'pwd', 'resource', 'syslog', 'termios', 'tty'}
CALLS = (
  'fork',
  'getloadavg',
  'getpgid',
  'getuid',
  'killpg',
  'mkfifo',
  'sched_getaffinity',
  'sched_setaffinity',
  'setsid',
  'sysconf',
  'uname',
)
SIGNALS = ('SIGALRM', 'SIGHUP', 'SIGKILL', 'SIGPIPE', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2')
OURS = ('__main__', 'cifar_jax', 'configs')

imported = builtins.__import__


class Lacking:
  """A module without some of its names, for this package."""

  def __init__(self, module: Any, names: Any):
    self._module, self._names = module, names

  def __getattr__(self, name: str) -> Any:
    importer = sys._getframe(1).f_globals.get('__name__', '').partition('.')[0]
    if name in self._names and importer in OURS:
      raise AttributeError(f'module {self._module.__name__!r} has no attribute {name!r}')
    return getattr(self._module, name)


def importing(name: str, globals: Any = None, *rest: Any, **options: Any) -> Any:
  package = name.partition('.')[0]
  if package == 'tensorflow':
    raise AssertionError(f'{name} is imported')
  ours = (globals or {}).get('__name__', '').partition('.')[0] in OURS
  if ours and package in MODULES:
    raise ModuleNotFoundError(f'No module named {name!r}', name=name)
  module = imported(name, globals, *rest, **options)
  lacks = {'os': CALLS, 'signal': SIGNALS}.get(name)
  return Lacking(module, lacks) if ours and lacks else module


if __name__ == '__main__':
  assert all(hasattr(os, name) for name in CALLS)
  assert all(hasattr(signal, name) for name in SIGNALS)
  builtins.__import__ = importing
  sys.argv = ['launch.py', *sys.argv[1:]]
  runpy.run_path('launch.py', run_name='__main__')
