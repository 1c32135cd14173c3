"""Stopping on request: SIGTERM from a scheduler, Ctrl-C from a person."""

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import Any


class Stop:
  """Whether somebody asked the run to stop."""

  asked = False


@contextlib.contextmanager
def stop_signals() -> Iterator[Stop]:
  """SIGTERM and SIGINT ask for a stop after the current step; a second SIGINT ends the process at
  once.
  """
  stop = Stop()

  def ask(number: int, _: Any) -> None:
    if stop.asked and number == signal.SIGINT:
      os._exit(128 + number)
    if not stop.asked:
      stop.asked = True
      os.write(2, b'\nstopping after this step and saving; Ctrl-C again to exit at once\n')

  before = {}
  with contextlib.suppress(ValueError):  # not in the main thread: the caller's handlers stay
    before = {s: signal.signal(s, ask) for s in (signal.SIGTERM, signal.SIGINT)}
  try:
    yield stop
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
