"""Stopping on request: SIGTERM from a scheduler, Ctrl-C from a person."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

from cifar_jax.devices.multihost import Stop
from cifar_jax.startup import process


@contextlib.contextmanager
def stop_signals(stop: Stop | None = None) -> Iterator[Stop]:
  """SIGTERM and SIGINT ask for a stop after the current step; a second SIGINT ends the process at
  once, with status 130, or 0 if the run was saved in the meantime.

  Args:
    stop: What is asked; that of a block around this one, where several runs are to stop; None for a
      new one.
  """
  stop = stop or Stop()

  def ask(number: int, _: Any) -> None:
    if stop.saved:
      process.end(0)
    if stop.asked and number == signal.SIGINT:
      process.end(128 + number)
    if not stop.asked:
      stop.asked = True
      process.say('stopping after this step and saving; Ctrl-C again to exit at once')

  before = {}
  with contextlib.suppress(ValueError):  # not in the main thread: the caller's handlers stay
    before = {s: signal.signal(s, ask) for s in (signal.SIGTERM, signal.SIGINT)}
  try:
    yield stop
  finally:
    for number, handler in before.items():
      over = stop.saved and handler is process.interrupted
      signal.signal(number, process.done if over else handler)
