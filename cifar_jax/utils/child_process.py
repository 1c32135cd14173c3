"""Processes that may hang or print anything: a broken driver does both."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_SECONDS_TO_DIE = 1.0  # One that waits for a device cannot be killed; it is left behind.


class Outcome(NamedTuple):
  """What became of a process.

  Attributes:
    status: Its exit status, negative for a signal; None if it did not start or did not end in time.
    output: What it wrote to stdout.
    errors: What it wrote to stderr, or why it did not start.
    late: Whether it was stopped because its time was over.
  """

  status: int | None
  output: str
  errors: str
  late: bool = False


def run_bounded(
  command: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None
) -> Outcome:
  """Runs a command that reads nothing, for a bounded time; never raises for what it does.

  Args:
    command: The program and its arguments.
    seconds: After this time it is killed, with the processes that it started.
    environment: Its environment variables; None: those of this process.
  """
  try:
    process = subprocess.Popen(
      command,
      env=None if environment is None else dict(environment),
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      start_new_session=True,
    )
  except (OSError, ValueError) as error:
    return Outcome(None, '', getattr(error, 'strerror', None) or str(error))
  late = False
  try:
    output, errors = process.communicate(timeout=seconds)
  except subprocess.TimeoutExpired as expired:
    late = True
    output, errors = expired.output or b'', expired.stderr or b''
  finally:
    _end(process)
  status = None if late else process.returncode
  return Outcome(status, output.decode(errors='replace'), errors.decode(errors='replace'), late)


def _end(process: subprocess.Popen[bytes]) -> None:
  """Kills what is left of a process and its children, and closes their pipes."""
  if process.returncode is None:
    with contextlib.suppress(OSError):
      if hasattr(os, 'killpg'):
        os.killpg(process.pid, signal.SIGKILL)
      else:
        process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
      process.wait(_SECONDS_TO_DIE)
  for pipe in (process.stdout, process.stderr):
    if pipe is not None:
      pipe.close()
