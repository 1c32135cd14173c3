"""What a run writes while it trains: one thread, one thing after the other.

The order is that in which things were handed over, and nothing is written after something that
failed: a checkpoint never gets ahead of the row of metrics.csv that belongs to it.
"""

import collections
import pathlib
import threading
from collections.abc import Callable

from absl import logging

from cifar_jax.utils.errors import UserError

_Job = Callable[[], None]
_LOOKS_EVERY = 1.0  # seconds between two looks at whether the thread is alive


class Background:
  """Does jobs in a thread of its own; use as a context manager, which waits for all of them.

  What a job raises is raised in the thread that hands over, asks or waits next, as a UserError; the
  jobs after it are not done. If the block of the context manager raises something else, that goes
  on, and a job's failure is logged as a warning.
  """

  def __init__(self, run: pathlib.Path):
    self._run = run
    self._jobs: collections.deque[_Job] = collections.deque()  # the one being done is the first
    self._changed = threading.Condition()
    self._closed = False
    self._error: UserError | None = None
    self._thread = threading.Thread(target=self._work, name='run writer', daemon=True)

  def __enter__(self) -> 'Background':
    try:
      self._thread.start()
    except RuntimeError as error:  # the system has no more threads
      raise self._failed(error) from error
    return self

  def __exit__(
    self, kind: type[BaseException] | None, error: BaseException | None, _: object
  ) -> None:
    try:
      self.wait()
    except UserError as failure:
      if error is None:
        raise
      if error is not failure:
        logging.warning('%s', failure)
    finally:
      with self._changed:
        self._closed = True
        self._changed.notify_all()
      self._thread.join()

  def submit(self, job: _Job) -> None:
    """Hands over a job, to be done after those before it."""
    self.check()
    with self._changed:
      self._jobs.append(job)
      self._changed.notify_all()

  def check(self) -> None:
    """Raises UserError if a job has failed, or the thread has died; waits for nothing."""
    if self._error is None and not self._thread.is_alive():
      self._error = self._failed(RuntimeError('the thread that writes has died'))
    if self._error is not None:
      raise self._error

  def wait(self) -> None:
    """Waits until all jobs are done, and raises as `check` does."""
    with self._changed:
      while self._jobs and self._thread.is_alive():
        self._changed.wait(_LOOKS_EVERY)
    self.check()

  def _work(self) -> None:
    while True:
      with self._changed:
        self._changed.wait_for(lambda: self._jobs or self._closed)
        if not self._jobs:
          return
        job = self._jobs[0]
      try:
        if self._error is None:
          job()
      except BaseException as error:
        self._error = error if isinstance(error, UserError) else self._failed(error)
      del job  # and with it the copy of the state that it holds
      with self._changed:
        self._jobs.popleft()
        self._changed.notify_all()

  def _failed(self, error: BaseException) -> UserError:
    first_line, *_ = str(error).strip().split('\n')
    failure = UserError(
      f'saving in {self._run} failed ({type(error).__name__}: {first_line[:200]}); what was saved '
      'before is complete, so mend that and run the same command again'
    )
    failure.__cause__ = error
    return failure
