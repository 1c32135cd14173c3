"""Processes in which the imports are done before they begin: forked from one that has made them and
in which JAX has not started. Importing takes longer than a tiny training.
"""

import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable

TIMEOUT = 120  # seconds
_context = multiprocessing.get_context('forkserver')
_context.set_forkserver_preload(['tests.helpers.warm_imports'])


def run(target: Callable[..., object], *arguments: object) -> subprocess.CompletedProcess[str]:
  """Calls `target(*arguments)` in a process of its own; it must be importable by its name.

  Returns:
    The exit status, which is negative for a signal, and what was written on both streams.
  """
  with tempfile.TemporaryDirectory() as folder:
    out, err = (pathlib.Path(folder, name) for name in ('out', 'err'))
    process = _context.Process(target=_redirected, args=(str(out), str(err), target, arguments))
    process.start()
    process.join(TIMEOUT)
    if process.exitcode is None:
      process.kill()
      process.join()
      raise subprocess.TimeoutExpired(getattr(target, '__name__', ''), TIMEOUT)
    texts = [path.read_text() if path.exists() else '' for path in (out, err)]
    return subprocess.CompletedProcess([], process.exitcode, *texts)


def _redirected(out: str, err: str, target: Callable[..., object], arguments: tuple) -> None:
  for descriptor, path in ((1, out), (2, err)):
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.dup2(file, descriptor)
    os.close(file)
  # Both stay open: what ends the process in an error is written after this function.
  sys.stdout, sys.stderr = os.fdopen(1, 'w', closefd=False), os.fdopen(2, 'w', closefd=False)
  target(*arguments)
