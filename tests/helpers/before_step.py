"""Does something in the middle of a training."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from cifar_jax.trainer import session


class Crash(BaseException):
  """Ends a training as abruptly as an exception can."""


def crash() -> None:
  raise Crash


@contextmanager
def before_step(step: int, act: Callable[[], object]) -> Iterator[None]:
  """Calls `act()` whenever `loop.train` is about to dispatch update number `step`, from 0, and all
  that was handed over to be written is on disk.
  """
  dispatch = session.Session._dispatch

  def acting(self, state, current, count):
    if current == step:
      self.background.wait()
      act()
    return dispatch(self, state, current, count)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(session.Session, '_dispatch', acting)
    yield
