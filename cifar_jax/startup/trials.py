"""What is used of jaxlib although it is no public interface, tried before anything relies on it.

Another version of jaxlib may not know a flag or a call, and then end the process or compute
something else. So each is tried once per version and kind of processor, in a process of its own,
and the verdict is kept in the cache folder. Where it cannot be kept, the next process tries again.
Nothing here imports JAX.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from cifar_jax.startup import processor
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import replacing
from cifar_jax.utils.paths import cache_folder

# (name of the trial, version of jaxlib) -> why it is not used although its trial would pass. There
# is no list of versions that are known to be good: a trial takes seconds, once.
REFUSED: dict[tuple[str, str], str] = {}

_EDITION = 3  # Raise it whenever a trial, or what it tries, changes.
_SECONDS = 120  # a trial takes 2 to 10
# Ctrl-C, an administrator or a lack of memory ended the trial: no verdict on jaxlib.
_SIGNALS_FROM_OUTSIDE = ('SIGINT', 'SIGTERM', 'SIGKILL')
# A trial may have failed for want of memory or threads: it is made again the next day.
_SECONDS_OF_A_REFUSAL = 24 * 3600
_ROOT = pathlib.Path(__file__).parents[2]  # where the package lies


def objection(name: str, program: str, xla_flags: str = '') -> str:
  """Returns why something is not to be used with the installed jaxlib; '' if it works.

  Args:
    name: Name of the trial, part of a file name.
    program: Python source that ends with status 0 if, and only if, all is well.
    xla_flags: The value of XLA_FLAGS while it runs.
  """
  version = jaxlib_version()
  if reason := REFUSED.get((name, version)):
    return f'{reason} with jaxlib {version}'
  path = _path_of_verdict(name, version, xla_flags)
  problem = _remembered(path)
  if problem is None:
    problem, is_final = _try(program, xla_flags)
    if not is_final:
      return f'{problem} with jaxlib {version}'
    _remember(path, {'trial': name, 'jaxlib': version, 'problem': problem})
  hint = f'; delete {path} to try again' if path else ''
  return f'{problem} with jaxlib {version}{hint}' if problem else ''


@functools.cache
def say(warning: str) -> None:
  """Tells the user a sentence, once per process."""
  from absl import logging  # not above: the doctor has to start without any package

  logging.warning(warning)


def jaxlib_version() -> str:
  """Returns the version of the installed jaxlib, without importing it."""
  try:
    return importlib.metadata.version('jaxlib')
  except importlib.metadata.PackageNotFoundError:
    return 'of unknown version'


def _try(program: str, xla_flags: str) -> tuple[str, bool]:
  """Runs a trial; what went wrong ('' for nothing), and whether it would go wrong again."""
  environment = {k: v for k, v in os.environ.items() if not k.startswith(('JAX_', 'XLA_'))}
  environment |= {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': xla_flags}
  environment['JAX_TRACEBACK_FILTERING'] = 'off'  # else the last line is not the error
  environment['PYTHONPATH'] = os.pathsep.join(
    filter(None, [str(_ROOT), os.environ.get('PYTHONPATH')])
  )
  try:
    done = subprocess.run(
      [sys.executable or 'python', '-P', '-c', program],
      env=environment,
      stdin=subprocess.DEVNULL,
      capture_output=True,
      timeout=_SECONDS,
      check=False,
    )
  except subprocess.TimeoutExpired:
    return f'a trial took more than {_SECONDS} seconds', False
  except OSError as error:
    return f'a trial could not start ({error.strerror})', False
  if done.returncode == 0:
    return '', True
  lines = done.stderr.decode(errors='replace').split('\n')
  said = next((line.strip() for line in reversed(lines) if line.strip()), '')
  by_signal = {int(s): s.name for s in signal.Signals}.get(-done.returncode)
  is_final = by_signal not in _SIGNALS_FROM_OUTSIDE
  return f'a trial ended with status {done.returncode} ({said[-200:]})', is_final


def _path_of_verdict(name: str, version: str, xla_flags: str) -> pathlib.Path | None:
  """The file of a verdict; None where there is no cache folder."""
  key = hashlib.sha256(f'{_EDITION} {processor.kind()} {xla_flags}'.encode()).hexdigest()[:12]
  with contextlib.suppress(UserError):
    return cache_folder() / 'trials' / f'{name}-{version}-{key}.json'
  return None


def _remembered(path: pathlib.Path | None) -> str | None:
  """The problem in a file of a verdict, '' for none; None where there is no such file."""
  if path is None:
    return None
  with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # damaged: try again
    problem = json.loads(path.read_text('utf-8'))['problem']
    old = time.time() - path.stat().st_mtime > _SECONDS_OF_A_REFUSAL
    return problem if isinstance(problem, str) and not (problem and old) else None
  return None


def _remember(path: pathlib.Path | None, verdict: dict[str, str]) -> None:
  """Writes a verdict; several processes may do so at once."""
  if path is None:
    return
  with contextlib.suppress(OSError, ValueError):  # no room or no permission: it is not kept
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, shared=True) as draft:
      draft.write_text(json.dumps(verdict), 'utf-8')
