"""One worker's part of one trial: it is trained, its epochs are reported, and it is ended."""

import contextlib
import dataclasses
import functools
import math
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import optuna
from ml_collections import ConfigDict
from optuna.trial import TrialState

from cifar_jax import config as configs
from cifar_jax.devices.multihost import Stop
from cifar_jax.run_dir.lock import RunLockedError
from cifar_jax.run_dir.progress import Progress
from cifar_jax.search import asking, claims, samplers
from cifar_jax.search import budget as budgets
from cifar_jax.search.asking import InterruptedTrialError
from cifar_jax.search.attributes import (
  CONFIG,
  MADE_EPOCHS,
  OWNER,
  PLANNED_EPOCHS,
  PULSE,
  REASON,
  RESULTS,
)
from cifar_jax.search.objectives import PER_EPOCH, mean_values, value_of
from cifar_jax.search.storage import ERRORS, StorageError, patiently
from cifar_jax.search.study import OpenStudy, Proposer, closed_to_test, seeds_of
from cifar_jax.trainer.session import Callback, RunSession
from cifar_jax.training.steps import TrainState
from cifar_jax.utils.errors import UserError, is_out_of_memory
from cifar_jax.utils.files import DiskError, make_folder

# config, run folder, progress, callbacks, stop -> summary, {} after a stop: `trainer.loop.train`.
Train = Callable[..., dict[str, Any]]


class PrunedError(Exception):
  """A pruner has ended the trial; the message is the reason."""


class TakenAwayError(Exception):
  """Another worker has taken up this trial, since this one did not answer for long."""


class ReportEpochs(Callback):
  """Hands each epoch over.

  Args:
    report: Row of the history -> nothing; what it raises ends the run.
  """

  def __init__(self, report: Callable[[Mapping[str, float]], None]):
    self._report = report

  def end_epoch(self, session: RunSession, state: TrainState) -> TrainState:
    """Reports the epoch."""
    self._report(session.rows[-1])
    return state


@dataclasses.dataclass(eq=False)
class Attempt:
  """One worker's part of one trial."""

  opened: OpenStudy
  proposer: Proposer
  trial: optuna.Trial
  owner: Mapping[str, Any]
  train: Train
  stop: Stop

  def run(self) -> bool | None:
    """Trains and reports; whether the trial has failed, None if the worker is to stop.

    Raises:
      RunLockedError: another process trains in the trial's folder; the trial is released.
      UserError: the storage or the disk cannot be used.
    """
    opened, trial, plan = self.opened, self.trial, self.opened.plan
    opened.study.sampler = samplers.make_sampler(plan.sampler, plan.sampler_seed, trial.number)
    values: Sequence[float] | None = None
    state, reason = TrialState.FAIL, ''
    with self._pulse():
      try:
        values = self._train_all()
        if all(map(math.isfinite, values)):
          state = TrialState.COMPLETE
        else:
          values, reason = None, f'its result is not finite: {values}'
      except (PrunedError, optuna.TrialPruned) as error:
        state, reason = TrialState.PRUNED, str(error)
      except TakenAwayError:
        return False
      except InterruptedTrialError:
        self._release()
        return None
      except StorageError:
        raise
      except (RunLockedError, DiskError):
        with contextlib.suppress(StorageError):
          self._release()
        raise
      except UserError as error:
        # What a single run could do about it is no advice for a trial.
        reason = str(error).partition(': start a new run')[0]
      except Exception as error:
        if isinstance(error, ERRORS) and not isinstance(error, OSError):
          raise
        reason = _reason(error)
        with contextlib.suppress(OSError):
          folder = make_folder(opened.run_of(trial.number, 0).parent)
          (folder / 'error.txt').write_text(traceback.format_exc(), 'utf-8', 'replace')
    told = patiently(opened.store, lambda: self._tell(state, values, reason))
    return told and state is TrialState.FAIL

  def _train_all(self) -> Sequence[float]:
    """The mean of each objective over the seeds."""
    opened, trial = self.opened, self.trial
    stored = self._attributes()
    config = self._config(stored)

    results: dict[str, Any] = dict(stored.get(RESULTS, {}))
    seeds = seeds_of(config, opened.plan.seeds)
    for seed in seeds:
      if str(seed) in results:
        continue
      if self.stop.asked:
        raise InterruptedTrialError
      seeded = ConfigDict(config)
      seeded.seed = seed
      run = opened.run_of(trial.number, seed)
      report = functools.partial(self._report, _epochs_of(results), seed == seeds[0])
      summary = self.train(
        seeded.lock(),
        run,
        Progress('silent'),
        extra_callbacks=(ReportEpochs(report),),
        stop=self.stop,
      )
      if not summary:
        raise InterruptedTrialError
      results[str(seed)] = {
        **{name: value_of(name, summary) for name in opened.plan.objectives},
        'epochs': int(summary['last_epoch']),
      }
      self.beat()
      self._set(RESULTS, results)
      self._set(MADE_EPOCHS, _epochs_of(results))
    return mean_values(opened.plan.objectives, list(results.values()))

  def _config(self, stored: Mapping[str, Any]) -> ConfigDict:
    """What was proposed for the trial before, or is now."""
    opened, trial = self.opened, self.trial
    if CONFIG in stored:
      return configs.of_json(stored[CONFIG], f'trial {trial.number}')
    plan, study = opened.plan, opened.study
    proposed = patiently(
      opened.store,
      lambda: asking.ask(
        lambda: self.proposer.propose(trial, study), plan.space, lambda: self.stop.asked
      ),
    )
    config = closed_to_test(proposed)
    configs.validate(config)
    self._set(PLANNED_EPOCHS, config.epochs * plan.seeds)
    self._set(CONFIG, configs.to_json(config))
    return config

  def _report(self, before: int, is_first: bool, row: Mapping[str, float]) -> None:
    """Notes an epoch; of the first run also what it measures, where there is one objective and it
    is measured in each.

    Args:
      before: The epochs of the trial's runs before.
      is_first: Whether it is the first run.
      row: Of the history.

    Raises:
      PrunedError: the pruner ends the trial.
      TakenAwayError: it is another worker's by now.
    """
    self.beat()
    epoch, objectives = int(row['epoch']), self.opened.plan.objectives
    self._set(MADE_EPOCHS, before + epoch)
    if not is_first or len(objectives) > 1 or objectives[0] not in PER_EPOCH:
      return
    value = value_of(objectives[0], row)
    if math.isnan(value):
      return
    trial = self.trial

    def write() -> bool:
      if epoch not in self.opened.store.storage.get_trial(trial._trial_id).intermediate_values:
        trial.report(value, epoch)
      return trial.should_prune()

    if patiently(self.opened.store, write):
      raise PrunedError(f'by --pruner={self.opened.plan.pruner} after epoch {epoch}')

  def beat(self) -> None:
    """Shows that this worker lives, and what the trial has cost so far.

    Raises:
      TakenAwayError: the trial is another worker's by now.
    """
    with self._beating:
      attributes = self._attributes()
      if not self._is_mine(attributes):
        raise TakenAwayError
      count = (attributes.get(PULSE) or (0, 0.0))[0] + 1
      seconds = self._seconds_before + time.monotonic() - self._start
      self._set(PULSE, [count, round(seconds, 1)])

  @contextlib.contextmanager
  def _pulse(self) -> Iterator[None]:
    """Beats while the block runs."""
    self._beating, over = threading.Lock(), threading.Event()
    self._start, self._seconds_before = time.monotonic(), budgets.seconds(self._attributes())

    def beat() -> None:
      while not over.wait(claims.PULSE_EVERY):
        # What is wrong, the thread that trains will find too, and say.
        with contextlib.suppress(TakenAwayError, UserError):
          self.beat()

    thread = threading.Thread(target=beat, name='pulse of a trial', daemon=True)
    thread.start()
    try:
      self.beat()
      yield
    finally:
      over.set()

  def _tell(self, state: TrialState, values: Sequence[float] | None, reason: str) -> bool:
    """Ends the trial, if it still is this worker's; whether it was."""
    with contextlib.suppress(TakenAwayError), self.opened.store.exclusive():
      frozen = self.opened.store.storage.get_trial(self.trial._trial_id)
      if frozen.state.is_finished():  # this is asked again, after an error of the storage
        return self._is_mine(frozen.user_attrs)
      self.beat()
      if reason:
        self.trial.set_user_attr(REASON, ' '.join(reason.split()))
      self.opened.study.tell(self.trial, values, state=state)
      return True
    return False

  def _release(self) -> None:
    """Leaves the trial to whoever goes on with it."""
    with contextlib.suppress(TakenAwayError):
      self.beat()
      self._set(OWNER, None)

  def _is_mine(self, attributes: Mapping[str, Any]) -> bool:
    return (attributes.get(OWNER) or {}).get('token') == self.owner['token']

  def _attributes(self) -> Mapping[str, Any]:
    """The attributes as they are in the storage now."""
    storage, number = self.opened.store.storage, self.trial._trial_id
    return patiently(self.opened.store, lambda: storage.get_trial_user_attrs(number))

  def _set(self, name: str, value: Any) -> None:
    patiently(self.opened.store, lambda: self.trial.set_user_attr(name, value))


def _epochs_of(results: Mapping[str, Any]) -> int:
  """The epochs of the runs of a trial that have finished."""
  return sum(int(result['epochs']) for result in results.values())


def _reason(error: Exception) -> str:
  """One line about an error that is none of the user's."""
  kind = 'out of memory' if is_out_of_memory(error) else type(error).__name__
  return f'{kind}: {" ".join(str(error).split())[:300]}'
