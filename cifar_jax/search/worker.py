"""One worker of a study: claims a trial, trains it, reports it, until the budget is spent.

A trial keeps its number, its folder and its attributes from its first start to its end. Whoever
takes it up again, after an interruption or a lost worker, goes on from its last checkpoint.
"""

import contextlib
import datetime
import os
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from cifar_jax.devices.multihost import Stop
from cifar_jax.run_dir.lock import RunLockedError
from cifar_jax.run_dir.signals import stop_signals
from cifar_jax.search import budget as budgets
from cifar_jax.search import claims
from cifar_jax.search.attempt import Attempt, Train
from cifar_jax.search.attributes import EXHAUSTED, KILLS, MADE_EPOCHS, OWNER, PULSE, REASON
from cifar_jax.search.storage import patiently
from cifar_jax.search.study import OpenStudy, Proposer
from cifar_jax.trainer import loop
from cifar_jax.utils.errors import UserError

PARENT = 'CIFAR_JAX_STUDY_COMMAND'  # in the environment: the process that started a worker
_MOST_KILLS = 5
_FAILURES_IN_A_ROW = 3  # with nothing ever completed: it is not the options that are wrong
_SECONDS_BETWEEN_LOOKS = 2.0
_SECONDS_BETWEEN_TRIES = 60.0  # of a trial in whose folder another process trains
_TRIALS_PER_PROCESS = 50
GO_ON = 75  # exit status of a process in whose place another one is to go on


def work(
  opened: OpenStudy,
  proposer: Proposer,
  budget: budgets.Budget,
  train: Train = loop.train,
) -> bool:
  """Does trials until the budget is spent and none runs, or until SIGTERM.

  A worker that finds nothing to begin waits for the trials of the others: what these lose, it takes
  up.

  Args:
    opened: The study.
    proposer: What makes the configs.
    budget: Of the whole study.
    train: What trains, with the arguments of `trainer.loop.train`.

  Returns:
    Whether another process is to go on: this one has compiled the programs of many trials, and some
    of their memory stays with it.

  Raises:
    UserError: the storage or the disk cannot be used, or all trials fail.
  """
  watch, failures, done = claims.Watch(), 0, 0
  not_before: dict[int, float] = {}  # number of a trial -> when to try it again
  with _stopping() as stop:
    while not stop.asked:
      if done >= _TRIALS_PER_PROCESS:
        return True
      owner = claims.new_owner()
      others = {number for number, when in not_before.items() if time.monotonic() < when}
      claimed = patiently(
        opened.store,
        lambda: _claim(opened, budget, watch, owner, others),  # noqa: B023
      )
      if claimed is None:
        if not any(trial.state is TrialState.RUNNING for trial in opened.trials()):
          return False
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        continue
      try:
        failed = Attempt(opened, proposer, claimed, owner, train, stop).run()
      except RunLockedError as error:  # a lost worker that is none, or a command of the user's
        if claimed.number not in not_before:
          print(f'trial {claimed.number} waits: {error}', file=sys.stderr, flush=True)
        not_before[claimed.number] = time.monotonic() + _SECONDS_BETWEEN_TRIES
        continue
      if failed is None:
        return False
      done += 1
      failures = failures + 1 if failed else 0
      if failures >= _FAILURES_IN_A_ROW:
        _raise_if_all_fail(opened)
  return False


def _claim(
  opened: OpenStudy,
  budget: budgets.Budget,
  watch: claims.Watch,
  owner: Mapping[str, Any],
  others: Collection[int] = (),
) -> optuna.Trial | None:
  """Takes up a trial that nobody trains, but none of `others`, else begins one if the budget allows
  it. Asked again with the same owner, as after an error of the storage, it gives what that has.
  """
  study = opened.study
  with opened.store.exclusive():
    trials = study.get_trials(deepcopy=False)
    for trial in trials:
      token = (trial.user_attrs.get(OWNER) or {}).get('token')
      if trial.state is TrialState.RUNNING and token == owner['token']:
        return opened.ask_for(trial)
    for trial in trials:
      if trial.state is not TrialState.RUNNING or trial.number in others:
        continue
      if not watch.is_owned(trial):
        if _count_kill(opened, trial):
          continue
        taken = opened.ask_for(trial)
        taken.set_user_attr(OWNER, dict(owner))
        return taken
    if not _may_begin(opened, budget, trials):
      return None
    begun = study.ask()
    begun.set_user_attr(OWNER, dict(owner))
    return begun


def _may_begin(opened: OpenStudy, budget: budgets.Budget, trials: Sequence[FrozenTrial]) -> bool:
  """Whether there is another trial to begin, and the means for it."""
  exhausted = opened.plan.sampler == 'grid' and opened.study.user_attrs.get(EXHAUSTED)
  return not exhausted and budget.allows_another(budgets.spent(trials))


def is_work_left(opened: OpenStudy, budget: budgets.Budget) -> bool:
  """Whether a trial runs, waits to be taken up, or may begin."""
  trials = opened.trials()
  running = any(trial.state is TrialState.RUNNING for trial in trials)
  return running or patiently(opened.store, lambda: _may_begin(opened, budget, trials))


def _count_kill(opened: OpenStudy, trial: FrozenTrial) -> bool:
  """Whether a trial without a living owner has lost too many at the same place, and has failed."""
  if not trial.user_attrs.get(OWNER):
    return False  # it was released
  place = trial.user_attrs.get(MADE_EPOCHS, 0)
  before, count = trial.user_attrs.get(KILLS, (None, 0))
  count = count + 1 if before == place else 1
  taken = opened.ask_for(trial)
  taken.set_user_attr(KILLS, [place, count])
  if count <= _MOST_KILLS:
    return False
  fail(opened, trial, f'its process was lost {count} times in a row after epoch {place}')
  return True


def fail(opened: OpenStudy, trial: FrozenTrial, reason: str) -> None:
  """Notes that a trial has failed whose process was lost, and what it has cost since it last gave a
  sign of life; to be called within `Store.exclusive`.
  """
  running = opened.ask_for(trial)
  seconds = budgets.seconds(trial.user_attrs)
  if trial.datetime_start is not None:
    since = (datetime.datetime.now() - trial.datetime_start).total_seconds() - seconds
    seconds += min(max(since, 0.0), claims.PULSE_EVERY)
  running.set_user_attr(PULSE, [(trial.user_attrs.get(PULSE) or (0,))[0] + 1, round(seconds, 1)])
  running.set_user_attr(REASON, reason)
  opened.study.tell(running, state=TrialState.FAIL)


def _raise_if_all_fail(opened: OpenStudy) -> None:
  trials = opened.trials()
  if any(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials):
    return
  failed = [trial for trial in trials if trial.state is TrialState.FAIL]
  raise UserError(
    f'the {len(failed)} trials so far have all failed, the last one so: '
    f'{failed[-1].user_attrs.get(REASON, "for no known reason")}'
  )


@contextlib.contextmanager
def _stopping() -> Iterator[Stop]:
  """Asked by SIGTERM, whatever the worker does then, and where the process that started this one is
  gone.
  """
  over = threading.Event()
  # It may be gone before this one has got so far.
  parent = int(os.environ.get(PARENT, os.getppid()))

  def look() -> None:
    while not over.wait(1.0):
      if os.getppid() != parent:
        stop.asked = True
        return

  with stop_signals() as stop:
    threading.Thread(target=look, name='looks after the parent', daemon=True).start()
    try:
      yield stop
    finally:
      over.set()
