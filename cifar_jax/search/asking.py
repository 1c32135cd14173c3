"""Asking for the config of a trial in bounded time, since the code of a space may never end.

It is asked in a thread of its own, for which this one waits: so signals are answered meanwhile,
whether the space computes, sleeps, or waits for something that never comes.
"""

import ctypes
import pathlib
import sys
import threading
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.utils.errors import UserError

SECONDS = 60.0  # a config takes milliseconds, and those of a sampler with very many trials seconds
_AFTER_A_STOP = 5.0  # seconds
_LOOK = 0.2


class InterruptedTrialError(Exception):
  """The worker was asked to stop, and the trial is saved."""


class _EndedError(BaseException):
  """Ends the thread that asks; no mistake of the space, which may handle those."""


def ask(
  propose: Callable[[], ConfigDict], space: str, is_stopped: Callable[[], bool] = lambda: False
) -> ConfigDict:
  """The config that a proposer makes, if it makes one in `SECONDS`.

  Args:
    propose: Makes it.
    space: The space file, as on the command line.
    is_stopped: -> whether to end soon.

  Raises:
    UserError: there is none by then; the message names the line at which the space is.
    InterruptedTrialError: it was to end, and there is none some seconds later.
    And what `propose` raises.
  """
  made: list[ConfigDict] = []
  raised: list[BaseException] = []

  def work() -> None:
    try:
      made.append(propose())
    except BaseException as error:  # is raised again, below
      raised.append(error)

  thread = threading.Thread(target=work, name='asks for a config', daemon=True)
  thread.start()
  waited = after_stop = 0.0  # in looks: a process that is paused does not run out of time
  place = ''
  try:
    while thread.is_alive() and waited <= SECONDS and after_stop <= _AFTER_A_STOP:
      thread.join(_LOOK)
      waited += _LOOK
      after_stop += _LOOK if is_stopped() else 0.0
    place = _place_of(thread, space)
  finally:
    if thread.is_alive():
      _end(thread)
  if made:
    return made[0]
  if raised and not isinstance(raised[0], _EndedError):
    raise raised[0]
  if after_stop > _AFTER_A_STOP:
    raise InterruptedTrialError
  raise UserError(
    f'{space}{place}: there is no config for the trial after {SECONDS:g} seconds; get_config() has '
    'to return one, so look for a loop that does not end'
  )


def _place_of(thread: threading.Thread, space: str) -> str:
  """', line 7' of the space file, at which a thread is; '' if it is elsewhere."""
  frame: Any = sys._current_frames().get(thread.ident or 0)
  while frame is not None:
    if pathlib.PurePath(frame.f_code.co_filename).stem == configs.name_of(space):
      return f', line {frame.f_lineno}'
    frame = frame.f_back
  return ''


def _end(thread: threading.Thread) -> None:
  """Ends a thread at the next line of Python that it reaches, or else leaves it."""
  identity, ending = ctypes.c_ulong(thread.ident or 0), ctypes.py_object(_EndedError)
  ctypes.pythonapi.PyThreadState_SetAsyncExc(identity, ending)
  thread.join(_LOOK)
