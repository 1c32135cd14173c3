"""Programs of the doctor that use JAX, in processes that may hang, crash or be killed."""

import contextlib
import functools
import json
import os
import pathlib
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cifar_jax.startup.accelerators import shortened
from cifar_jax.utils.child_process import run_bounded

_ROOT = pathlib.Path(__file__).parents[3]  # where the package lies
_PROBE_SECONDS = 120  # 2 to 4; a TPU takes up to a minute to start
_MARK = 'cifar_jax doctor: '  # before what a program answers, since libraries print too


class Answer(NamedTuple):
  """What a program said.

  Attributes:
    facts: What it found; what it had not found yet when it ended is missing.
    trouble: Why it did not end as it should; '' if it did.
  """

  facts: dict[str, Any]
  trouble: str


def tell(**facts: Any) -> None:
  """Says something to the process that started this program."""
  print(f'\n{_MARK}{json.dumps(facts)}', flush=True)


def ask(
  module: str, arguments: Sequence[str], seconds: float, variables: Mapping[str, str]
) -> Answer:
  """Runs a module of this room as a program, and waits for it for a bounded time.

  Args:
    module: Its name.
    arguments: Its arguments.
    seconds: How long it may take.
    variables: Environment variables beside those of this process.
  """
  paths = [str(_ROOT), os.environ.get('PYTHONPATH')]
  environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, paths)), **variables}
  environment['JAX_TRACEBACK_FILTERING'] = 'off'  # else the last line is not the error
  program = [sys.executable or 'python', '-m', f'cifar_jax.commands.doctor.{module}', *arguments]
  outcome = run_bounded(program, seconds, environment)
  facts: dict[str, Any] = {}
  for line in outcome.output.splitlines():
    if line.startswith(_MARK):
      with contextlib.suppress(ValueError):  # it was killed in the middle of the line
        facts |= json.loads(line.removeprefix(_MARK))
  return Answer(facts, _trouble(outcome.status, outcome.late, outcome.errors, seconds))


@functools.cache
def probe() -> Answer:
  """What `probe` found: `data` (name -> folder or None), `default_data`, `backend`, `devices`."""
  return ask('probe', [], _PROBE_SECONDS, {})


def _trouble(status: int | None, late: bool, errors: str, seconds: float) -> str:
  lines = [line.strip() for line in errors.splitlines() if line.strip()]
  worded = [line for line in lines if re.search('[a-zA-Z]', line)]  # no rules, no carets
  last = shortened(worded[-1], 300) if worded else ''
  if late:
    return f'it did not end within {seconds:g} seconds' + (f' ({last})' if last else '')
  if status == 0:
    return ''
  if status is None:
    return f'it did not start ({last})'
  if status < 0:
    name = signal.Signals(-status).name if -status in set(signal.Signals) else str(-status)
    return f'{name} ended it' + (f' ({last})' if last else '')
  return last or f'it ended with status {status}'
