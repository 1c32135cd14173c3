"""Several mirrors, of which the one that will be done first goes on.

Two are asked at a time. After a trial of a few seconds the one whose end is nearer, by the bytes a
second of each, goes on alone; as long as the wait is worth it, mirrors that were not tried yet are
tried against it, and those that were faster than it has become.
"""

import collections
import pathlib
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from cifar_jax.data.fetch.download import Download, Patience, RefusedError, StoppedError
from cifar_jax.data.fetch.mirrors import Mirror
from cifar_jax.utils.errors import UserError

_POLL = 0.05  # seconds
_SECONDS_TO_STOP = 0.5
_BYTES_OF_A_TRIAL = 8 << 20  # of the slower mirror, which nobody needs and the disk must hold
_MOST_BYTES_OF_NOTHING = 1.0  # bytes a second below which a mirror is silent


class Runner:
  """One mirror, downloaded by a thread of its own.

  Attributes:
    mirror: The mirror.
    folder: Where its files are put.
    failure: Why it is of no use, in a few words; '' as long as it may be.
    error: What the disk raised.
    done: Whether all files are there.
    tested: Whether it has had a trial.
    continued: Whether a part of them was there before the start.
  """

  def __init__(
    self, mirror: Mirror, folder: pathlib.Path, patience: Patience, say: Callable[[str], None]
  ):
    self.mirror, self.folder, self._patience, self._say = mirror, folder, patience, say
    self.failure, self.done = '', False
    self.error: OSError | None = None
    self.tested = False
    self.continued = False
    self._thread: threading.Thread | None = None
    self._stop = threading.Event()
    self._downloads: list[Download] = []
    self._samples: collections.deque[tuple[float, int]] = collections.deque()
    self._transferred_before = 0

  def start(self) -> None:
    """Goes on from what is there."""
    self._stop = threading.Event()
    self._transferred_before = self.transferred
    self._samples.clear()
    self.folder.mkdir(parents=True, exist_ok=True)
    self._downloads = [
      Download(file, self.folder / file.name, self._patience, self._stop, self._say)
      for file in self.mirror.files
    ]
    self.continued = self.received > 0
    # A daemon, as a read from a silent server must not keep the process from its end.
    self._thread = threading.Thread(target=self._run, daemon=True)
    self._thread.start()

  def stop(self) -> None:
    """Asks the thread to end; what it has received stays."""
    self._stop.set()
    self.tested = True

  def join(self, seconds: float) -> None:
    """Waits for the end of the thread."""
    if self._thread is not None:
      self._thread.join(seconds)

  @property
  def ready(self) -> bool:
    """Whether it can be started."""
    return not self.failure and (self._thread is None or not self._thread.is_alive())

  @property
  def received(self) -> int:
    """Bytes that are on the disk."""
    return sum(download.received for download in self._downloads)

  @property
  def transferred(self) -> int:
    """Bytes that came over the network in this process."""
    return self._transferred_before + self.fresh

  @property
  def fresh(self) -> int:
    """Bytes that came since it was started last."""
    return sum(download.transferred for download in self._downloads)

  @property
  def total(self) -> int:
    """Bytes of all its files, as far as is known."""
    return sum(download.total for download in self._downloads) or self.mirror.size

  def sample(self, now: float) -> None:
    """Notes how far it is."""
    self._samples.append((now, self.received))
    while len(self._samples) > 2 and now - self._samples[0][0] > 1.5 * self._patience.trial:
      self._samples.popleft()

  @property
  def seconds_left(self) -> float:
    """As the last seconds went; infinite for a silent one."""
    if len(self._samples) < 2:
      return float('inf')
    (start, before), (end, after) = self._samples[0], self._samples[-1]
    rate = (after - before) / max(end - start, 1e-3)
    left = max(0, self.total - self.received)
    return left / rate if rate > _MOST_BYTES_OF_NOTHING else float('inf')

  def _run(self) -> None:
    try:
      for download in self._downloads:
        download.run()
      self.done = True
    except RefusedError as error:
      self.failure = str(error)
    except OSError as error:
      self.error = error
    except StoppedError:
      pass
    except Exception as error:  # A server can make a library raise almost anything.
      self.failure = f'{type(error).__name__}: {error}'[:100]


def race(
  mirrors: Mapping[Mirror, pathlib.Path],
  accept: Callable[[Runner], Any],
  title: str,
  patience: Patience,
  say: Callable[[str], None],
) -> tuple[Any, Runner]:
  """Downloads from the mirror that is the fastest, or else from another one.

  Args:
    mirrors: The mirrors, those to ask first before the others, with the folder in which the files
      of each are put, and continued.
    accept: Called with a mirror all of whose files are there; what it returns is returned.
      It removes them and raises RefusedError where they are not what they should be, and the
      others go on.
    title: What stands before the bar.
    patience: How long to wait.
    say: Is told what is worth a line.

  Returns:
    What `accept` returned, and the mirror with its files.

  Raises:
    UserError: no mirror has it; the details say what each of them answered.
    OSError: the disk is full or cannot be written.
  """
  runners = [Runner(mirror, folder, patience, say) for mirror, folder in mirrors.items()]
  active: list[Runner] = []
  waiting = list(runners)
  bar = tqdm(unit='B', unit_scale=True, desc=title, disable=None, leave=False, dynamic_ncols=True)
  shown: Runner | None = None
  started = 0.0
  try:
    while True:
      now = time.monotonic()
      for runner in list(active):
        runner.sample(now)
        if runner.error is not None:
          active = [_alone(runners, runner.error)]
          waiting = []
          break
        if runner.done:
          bar.set_description(f'{title}: comparing with the published checksums')
          try:
            return accept(runner), runner
          except RefusedError as error:
            active.remove(runner)
            runner.done = False
            if runner.continued:  # What was there before may be what is wrong.
              waiting.append(runner)
            else:
              runner.failure = str(error)
        elif runner.failure:
          active.remove(runner)
      waiting = [runner for runner in waiting if not runner.failure]
      if not active and not waiting:
        raise _no_mirror(runners)
      lead = min(active, key=lambda runner: runner.seconds_left, default=None)
      if lead is not None:
        shown = _show(bar, lead, shown, title)
      others = sum(runner.fresh for runner in active if runner is not lead)
      if not active or now - started > patience.trial or others > _BYTES_OF_A_TRIAL:
        if lead is not None and lead.seconds_left < float('inf'):
          for runner in [runner for runner in active if runner is not lead]:
            runner.stop()
            active.remove(runner)
            waiting.append(runner)
        for runner in _next(waiting, lead, patience)[: 1 if active else 2]:
          waiting.remove(runner)
          active.append(runner)
          runner.start()
          started = now
      time.sleep(_POLL)
  finally:
    bar.close()
    for runner in runners:
      runner.stop()
    for runner in runners:
      runner.join(_SECONDS_TO_STOP)


def _alone(runners: Sequence[Runner], error: OSError) -> Runner:
  """The mirror that is the farthest goes on, after one of them found no room, in that of what the
  others have left.

  Raises:
    OSError: the others have left nothing.
  """
  chosen = max(runners, key=lambda runner: runner.received)
  left = [runner for runner in runners if runner is not chosen and runner.folder.is_dir()]
  for runner in runners:
    runner.stop()
  for runner in runners:
    runner.join(_SECONDS_TO_STOP)
  if not sum(runner.received for runner in left):
    raise error
  for runner in left:
    shutil.rmtree(runner.folder, ignore_errors=True)
    runner.failure = 'left out, as there is room for one mirror alone'
  chosen.error = None
  chosen.start()
  return chosen


def _next(waiting: Sequence[Runner], lead: Runner | None, patience: Patience) -> list[Runner]:
  """Which of those that wait are worth a trial now."""
  ready = [runner for runner in waiting if runner.ready]
  left = float('inf') if lead is None else lead.seconds_left
  if left == float('inf'):
    return ready
  if left < patience.worthwhile:
    return []
  return [runner for runner in ready if not runner.tested or 2 * runner.seconds_left < left]


def _show(bar: tqdm, lead: Runner, shown: Runner | None, title: str) -> Runner:
  """Moves the bar; it shows one mirror at a time, the first of them."""
  if lead is not shown:
    bar.reset(lead.total)
    bar.n = bar.initial = lead.received
    bar.set_description(f'{title} from {lead.mirror.host}', refresh=False)
    bar.refresh()
  bar.total = lead.total
  bar.update(lead.received - bar.n)
  return lead


def _no_mirror(runners: Sequence[Runner]) -> UserError:
  """The reason that most of the mirrors gave, and below it that of each."""
  reasons = collections.Counter(runner.failure for runner in runners)
  reason, count = reasons.most_common(1)[0]
  first = next(runner for runner in runners if runner.failure == reason)
  who = first.mirror.host if count == 1 else f'{count} of {len(runners)} mirrors'
  return UserError(
    f'{who}: {reason}', [f'{runner.mirror.files[0].url}: {runner.failure}' for runner in runners]
  )
