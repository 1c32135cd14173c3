"""The part of a study's command that trains nothing: it starts workers, shows what they find, and
sees how they end.

Each worker is a process, so that one that crashes, or that the system kills for its memory, costs
one trial. The workers of other machines are not this one's to look after; see `claims`.
"""

import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from optuna.trial import TrialState

from cifar_jax.search import budget as budgets
from cifar_jax.search import claims, worker
from cifar_jax.search.attributes import OWNER
from cifar_jax.search.show import Show
from cifar_jax.search.storage import patiently
from cifar_jax.search.study import OpenStudy
from cifar_jax.startup import process, processor
from cifar_jax.startup.accelerators import runs_on_cpu
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import disk_errors

_LOG = 'worker_{}.log'
_SECONDS_BETWEEN_LOOKS = 0.5
_STARTS_IN_VAIN = 3  # of a worker that ends without having begun a trial
_FOR_THE_USER = 2  # exit status of a UserError
_KILLED = getattr(signal, 'SIGKILL', 9)  # Windows has no name for it
_ENDED_FROM_OUTSIDE = (signal.SIGTERM, signal.SIGINT, getattr(signal, 'SIGHUP', signal.SIGTERM))


def supervise(
  opened: OpenStudy,
  command: Sequence[str],
  workers: int,
  budget: budgets.Budget,
  show: Show,
  before_start: Callable[[], None] = lambda: None,
) -> bool:
  """Runs workers until they have nothing left to do.

  Args:
    opened: The study.
    command: What starts a worker.
    workers: How many at once.
    budget: Of the whole study, to be shown.
    show: Where it is shown.
    before_start: Called before each start of a worker, which reads the space file anew.

  Returns:
    Whether they ended by themselves; False after Ctrl-C or SIGTERM, when all running trials are
    saved.

  Raises:
    UserError: a worker says that something is to be mended.
  """
  if not worker.is_work_left(opened, budget):
    return True
  with _asked_to_stop() as stop:
    crew = [
      _Worker(opened, command, index, workers, share, before_start)
      for index, share in enumerate(shares(workers))
    ]
    try:
      while any(member.alive for member in crew):
        if stop.is_set():
          for member in crew:
            member.ask_to_stop()
        for member in crew:
          member.look()
        show.update(opened, budget)
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    finally:
      for member in crew:
        member.end()
    show.update(opened, budget)
    return not stop.is_set()


def workers_of(folder: pathlib.Path) -> int:
  """How many workers a command has had at once in a study's folder, by the logs that they leave."""
  return len(list(folder.glob(_LOG.format('*'))))


def shares(workers: int) -> list[tuple[int, ...]]:
  """The cores of each of several workers, which would only wait for each other on all of them; ()
  where each has what there is: of one worker, with an accelerator, and where the system keeps no
  process to some cores.
  """
  return processor.shares(workers) if workers > 1 and runs_on_cpu() else [()] * workers


@dataclasses.dataclass(eq=False)
class _Worker:
  """One place at which a process works, and another one if that crashes."""

  opened: OpenStudy
  command: Sequence[str]
  index: int
  workers: int
  share: Sequence[int]
  before_start: Callable[[], None]

  def __post_init__(self) -> None:
    self._log = self.opened.folder / _LOG.format(self.index)
    self._in_vain = 0
    self._asked = False
    self._log.unlink(missing_ok=True)
    self._start()

  def _start(self) -> None:
    self.before_start()
    self._memory_ran_out = times_memory_ran_out()
    with (
      disk_errors(self.opened.folder),
      open(self._log, 'ab') as log,
      processor.starting_on(self.share),
    ):
      self._child: subprocess.Popen[bytes] | None = _start(self.command, log, self.workers)

  @property
  def alive(self) -> bool:
    """Whether a process works here."""
    return self._child is not None

  def ask_to_stop(self) -> None:
    """Has the process save and end."""
    if self._child is not None and not self._asked:
      self._asked = True
      with contextlib.suppress(ProcessLookupError):
        self._child.send_signal(signal.SIGTERM)

  def end(self) -> None:
    """Has the process end and waits for that; kills it where an error is on its way."""
    if self._child is None:
      return
    self.ask_to_stop()
    with contextlib.suppress(subprocess.TimeoutExpired):
      self._child.wait(60)
    self._child.kill()
    self._child.wait()
    self._child = None

  def look(self) -> None:
    """Sees whether the process has ended, and starts another one where it should not have.

    Raises:
      UserError: it says that something is to be mended.
    """
    if self._child is None or self._child.poll() is None:
      return
    pid, status = self._child.pid, self._child.returncode
    self._child = None
    if status == 0:
      return
    if status == worker.GO_ON:
      if not self._asked:
        self._start()
      return
    if status == _FOR_THE_USER:
      raise UserError(self._last_words().removeprefix('error: '))
    reason = blame(status, times_memory_ran_out() > self._memory_ran_out)
    had_trial = self._close_trial(pid, reason)
    if self._asked:
      return
    self._in_vain = 0 if had_trial or not reason else self._in_vain + 1
    if self._in_vain >= _STARTS_IN_VAIN:
      raise UserError(
        f'worker {self.index} ended {self._in_vain} times before it began a trial ('
        f'{how_it_ended(status)}: {self._last_words()}); {self._log} has all of it'
      )
    self._start()

  def _close_trial(self, pid: int, reason: str) -> bool:
    """Notes that the trial of a process that ended has failed, if there is a reason; whether it had
    one. What was killed from outside, the next worker takes up.
    """
    opened = self.opened

    def close() -> bool:
      found = False
      with opened.store.exclusive():
        for trial in opened.study.get_trials(deepcopy=False):
          owner = trial.user_attrs.get(OWNER) or {}
          mine = bool(owner) and claims.is_here(owner) and owner['pid'] == pid
          if trial.state is TrialState.RUNNING and mine:
            found = True
            if reason:
              worker.fail(opened, trial, f'{reason}; see {self._log.name}')
      return found

    return patiently(opened.store, close)

  def _last_words(self) -> str:
    try:
      lines = self._log.read_text('utf-8', 'replace').strip().splitlines()
    except OSError:
      lines = []
    said = [line for line in lines if line.startswith('error: ')] or lines
    return said[-1] if said else 'it said nothing'


def blame(status: int, out_of_memory: bool) -> str:
  """Why a trial has failed whose process ended so; '' if something else ended it.

  Args:
    status: As of `subprocess`, negative for a signal.
    out_of_memory: Whether the system has killed a process meanwhile since its memory ran out.
  """
  if -status == _KILLED:
    return 'out of memory: the system killed its process' if out_of_memory else ''
  if -status in _ENDED_FROM_OUTSIDE:
    return ''
  return f'its process crashed ({how_it_ended(status)})'


def how_it_ended(status: int) -> str:
  """'SIGSEGV' or 'status 3'."""
  if status < 0:
    with contextlib.suppress(ValueError):
      return signal.Signals(-status).name
  return f'status {status}'


def times_memory_ran_out() -> int:
  """How often the system has killed a process of this machine or container for memory."""
  count = 0
  for path in ('/proc/vmstat', '/sys/fs/cgroup/memory.events'):
    with contextlib.suppress(OSError, ValueError):
      for line in pathlib.Path(path).read_text('utf-8').splitlines():
        name, _, number = line.partition(' ')
        count += int(number) if name == 'oom_kill' else 0
  return count


def _start(command: Sequence[str], log: Any, workers: int) -> subprocess.Popen[bytes]:
  """Starts a worker; Ctrl-C, which the terminal sends to all, does not reach it."""
  environment = {**os.environ, worker.PARENT: str(os.getpid())}
  if workers > 1 and not runs_on_cpu():
    # JAX takes three quarters of a GPU's memory at its start.
    environment.setdefault('XLA_PYTHON_CLIENT_MEM_FRACTION', f'{0.9 / workers:.2f}')
  return subprocess.Popen(
    command,
    env=environment,
    stdin=subprocess.DEVNULL,
    stdout=log,
    stderr=log,
    start_new_session=True,
  )


@contextlib.contextmanager
def _asked_to_stop() -> Iterator[threading.Event]:
  """Set by SIGINT and SIGTERM; a second SIGINT ends the process at once."""
  stop = threading.Event()

  def ask(number: int, _: object) -> None:
    if stop.is_set() and number == signal.SIGINT:
      process.end(128 + number)
    if not stop.is_set():
      stop.set()
      process.say('stopping after this step and saving the trials; Ctrl-C again to exit at once')

  before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
  try:
    yield stop
  finally:
    for number, handler in before.items():
      signal.signal(number, handler)
