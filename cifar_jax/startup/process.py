"""What a process does about signals, its output and garbage, from its first moment on.

Python's own answer to Ctrl-C is an exception, which lands wherever the program happens to be: in
the middle of an import it becomes a traceback, or is taken for the failure of an optional package
and swallowed. As long as there is nothing to save, the process rather ends at once. And a terminal
that cannot show a letter, or a reader that has seen enough, is no reason to stop a training.
"""

import atexit
import contextlib
import gc
import io
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

_STOPS = (signal.SIGINT, signal.SIGTERM)
# New objects from which on the collector looks for cycles. Imports and tracing make millions, few
# of them in cycles: by default a tenth of their time is the collector's.
_OBJECTS_BETWEEN_COLLECTIONS = 50_000


def prepare(*, patient: bool) -> None:
  """To be called before anything is imported that takes time.

  SIGINT and SIGTERM end the process with one line and status 128 + their number. A letter that
  stdout or stderr cannot show becomes a question mark. Garbage is looked for less often.

  Args:
    patient: Whether to go on, in silence, when what reads the output is gone or its disk is full.
  """
  gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
  for number in _STOPS:
    signal.signal(number, interrupted)
  _prepare_output(patient)


def outlive_readers() -> None:
  """Makes a process that was prepared otherwise patient: for a command that trains."""
  _prepare_output(patient=True)


def finish() -> None:
  """To be called when all is done and saved: SIGINT and SIGTERM end the process with status 0."""
  for number in _STOPS:
    signal.signal(number, done)


def leave(status: object = 0) -> None:
  """Ends the process when all is done, saved and closed, without Python's taking down of modules,
  devices and programs, which takes a quarter of a second, and without waiting for threads.

  What was registered with `atexit` is done. The call returns where more is to come: in a process
  that a profiler, a debugger or a measurement of coverage watches, in an interactive one, and where
  the status is a text to print.

  Args:
    status: As in SystemExit; None is 0.
  """
  if not isinstance(status, int | None):
    return
  monitoring: Any = getattr(sys, 'monitoring', None)  # from Python 3.12 on
  watched = monitoring and any(map(monitoring.get_tool, range(6)))
  if watched or sys.getprofile() or sys.gettrace() or sys.flags.interactive:
    return
  atexit._run_exitfuncs()
  status = status or 0
  for stream in (sys.stdout, sys.stderr):
    try:
      stream.flush()
    except (OSError, ValueError):  # nobody reads it any more
      status = status or 1
  os._exit(status)


@contextlib.contextmanager
def catching_interrupts() -> Iterator[None]:
  """Lets SIGINT raise KeyboardInterrupt in the block, for a library that waits for it."""
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  try:
    yield
  finally:
    signal.signal(signal.SIGINT, before)


def say(line: str) -> None:
  """Prints a line on stderr from a signal handler, where the streams may be in use."""
  with contextlib.suppress(OSError):
    os.write(2, f'\n{line}\n'.encode())


def end(status: int) -> NoReturn:
  """Ends the process at once, from a signal handler."""
  with contextlib.suppress(Exception):
    sys.stdout.flush()
  os._exit(status)


def interrupted(number: int, _: Any) -> None:
  """The handler of a process that has nothing to save."""
  say('interrupted')
  end(128 + number)


def done(*_: Any) -> None:
  """The handler of a process that has saved everything."""
  end(0)


class _Patient(io.FileIO):
  """A file whose output may be lost."""

  def write(self, data: Any) -> int:
    try:
      return super().write(data) or 0
    except OSError:
      return memoryview(data).nbytes


def _prepare_output(patient: bool) -> None:
  sys.stdout = _prepared(sys.stdout, 1, patient)
  sys.stderr = _prepared(sys.stderr, 2, patient)


def _prepared(stream: Any, descriptor: int, patient: bool) -> Any:
  """A stream like the given one that no letter stops and, if patient, no reader's end."""
  if stream is None:  # it was closed before the process started
    return open(os.devnull, 'w', encoding='utf-8')
  if not isinstance(stream, io.TextIOWrapper):
    return stream
  # In the C locale it is 'surrogateescape', which stops at a Greek letter.
  errors = 'replace' if stream.errors in ('strict', 'surrogateescape') else stream.errors
  # The terminal of Windows takes letters, not the bytes of an encoding.
  raw: Any = getattr(stream.buffer, 'raw', stream.buffer)
  if not patient or not isinstance(raw, io.FileIO):
    stream.reconfigure(errors=errors)
    return stream
  stream.flush()
  return io.TextIOWrapper(
    io.BufferedWriter(_Patient(descriptor, 'w', closefd=False)),
    encoding=stream.encoding,
    errors=errors,
    line_buffering=stream.line_buffering or stream.write_through,  # python -u
    write_through=descriptor == 2,
  )
