"""What becomes of trials: trained, pruned, failed, lost, taken up again."""

import contextlib
import errno
import math
import os
import signal
import subprocess
import sys
import time

import optuna
import pytest

from cifar_jax.devices.multihost import Stop
from cifar_jax.run_dir.lock import run_lock
from cifar_jax.run_dir.signals import stop_signals
from cifar_jax.search import attempt, attributes, budget, claims, study, worker
from cifar_jax.search.attributes import MADE_EPOCHS, OWNER, PULSE, RESULTS
from cifar_jax.search.rows import row_of
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import disk_errors
from tests.helpers import fake_study
from tests.helpers.fake_study import EPOCHS, accuracy, fake_train

NAN = 'the loss or the parameters became NaN or infinite in step 3 (epoch 1)'


def states(opened: study.OpenStudy) -> list[str]:
  return [row_of(opened, trial)['state'] for trial in opened.trials()]


def dead_owner() -> dict[str, object]:
  """The owner that a process which has ended was."""
  process = subprocess.Popen([sys.executable, '-c', ''])
  process.wait()
  return {**claims.new_owner(), 'pid': process.pid}


def begin(opened: study.OpenStudy, owner: object, epochs: int = 2) -> optuna.Trial:
  """A trial that somebody has begun and trained for some epochs."""
  trial = opened.study.ask()
  config = study.closed_to_test(fake_study.Space().propose(trial, opened.study))
  trial.set_user_attr(OWNER, owner)
  short = type(config)(config)
  short.epochs = epochs
  fake_train(short, opened.run_of(trial.number, 0))
  for epoch in range(1, epochs + 1):
    trial.report(accuracy(trial.params['x'], epoch), epoch)
    trial.set_user_attr(MADE_EPOCHS, epoch)
  return trial


def test_trials_are_trained_until_the_budget_is_spent(open_fake, work) -> None:
  opened = open_fake()
  work(opened, trials=3)
  work(opened, trials=3)  # the same command again
  trials = opened.trials()
  assert [trial.number for trial in trials] == [0, 1, 2]
  for trial in trials:
    assert trial.value == accuracy(trial.params['x'], EPOCHS)
    assert trial.intermediate_values[2] == accuracy(trial.params['x'], 2)
    assert not study.trial_config(trial).evaluate.test
  assert states(opened) == ['complete'] * 3
  work(opened, epochs=17)  # 12 are made: a fourth and a fifth trial begin
  assert len(opened.trials()) == 5
  assert sum(row_of(opened, trial)['epochs'] for trial in opened.trials()) == 5 * EPOCHS


def test_a_space_may_set_attributes_of_any_name(open_fake, work, monkeypatch) -> None:
  class Words(fake_study.Space):
    def propose(self, trial, study):
      for name in filter(str.isupper, vars(attributes)):
        trial.set_user_attr(name.lower(), 'mine')
      return super().propose(trial, study)

  monkeypatch.setattr(fake_study, 'Space', Words)
  opened = open_fake()
  work(opened, trials=1)
  assert states(opened) == ['complete']
  assert opened.trials()[0].user_attrs['owner'] == 'mine'


def test_another_process_goes_on_after_many_trials(open_fake, monkeypatch) -> None:
  monkeypatch.setattr(worker, '_TRIALS_PER_PROCESS', 2)
  opened = open_fake()
  goes_on = [
    worker.work(opened, fake_study.Space(), budget.Budget(5), fake_train) for _ in range(3)
  ]
  assert goes_on == [True, True, False]
  assert states(opened) == ['complete'] * 5


def test_the_mean_over_seeds_counts(open_fake, work) -> None:
  opened = open_fake(seeds=3)
  work(opened, trials=1)
  (trial,) = opened.trials()
  assert trial.value == pytest.approx(accuracy(trial.params['x'], EPOCHS) - 0.01)
  runs = sorted(path.name for path in opened.run_of(0, 0).parent.iterdir())
  assert runs == ['seed_0', 'seed_1', 'seed_2']
  assert row_of(opened, trial)['epochs'] == 3 * EPOCHS


@pytest.mark.parametrize(
  ('objectives', 'seeds', 'epochs'),
  [
    (('val_accuracy',), 1, 2),
    (('val_accuracy',), 2, EPOCHS + 2),
    (('seconds',), 1, 2),
    (('val_accuracy', 'seconds'), 2, EPOCHS + 2),
  ],
)
def test_the_epochs_of_what_has_failed_count(open_fake, work, objectives, seeds, epochs) -> None:
  opened = open_fake(objectives=objectives, seeds=seeds)

  def train(config, *arguments, **options):
    if config.seed == seeds - 1:
      short = type(config)(config)
      short.epochs = 2
      fake_train(short, *arguments, **options)
      raise UserError(NAN)
    return fake_train(config, *arguments, **options)

  work(opened, train, epochs=1)
  assert states(opened) == ['failed']
  assert row_of(opened, opened.trials()[0])['epochs'] == epochs
  assert budget.spent(opened.trials()).epochs == epochs


def test_a_failure_is_said_and_gone_on_from(open_fake, work) -> None:
  opened = open_fake()
  errors = [UserError(NAN), MemoryError('no room'), None, ValueError('two\nlines')]
  found = []

  def train(config, run, progress, **options):
    found.append(run)
    error = errors[len(found) - 1]
    if error:
      raise error
    return fake_train(config, run, progress, **options)

  work(opened, train, trials=4)
  assert states(opened) == ['failed', 'failed', 'complete', 'failed']
  reasons = [row_of(opened, trial)['reason'] for trial in opened.trials()]
  assert reasons == [NAN, 'out of memory: no room', '', 'ValueError: two lines']
  assert 'Traceback' in (found[3].parent / 'error.txt').read_text()


def test_a_result_that_is_not_finite_has_failed(open_fake, work) -> None:
  opened = open_fake()
  work(opened, lambda *_, **__: {'val_accuracy': math.nan, 'last_epoch': 1}, trials=1)
  assert states(opened) == ['failed']


def test_nothing_but_failures_end_the_worker(open_fake, work) -> None:
  def train(*_, **__):
    raise UserError('there are no data')

  with pytest.raises(UserError, match=r'the 3 trials so far have all failed.*there are no data'):
    work(open_fake(), train, trials=10)


def test_a_pruned_run_stops_after_the_epoch(open_fake, work) -> None:
  opened = open_fake()
  opened.study.pruner = optuna.pruners.ThresholdPruner(lower=2.0)
  work(opened, trials=1)
  (trial,) = opened.trials()
  row = row_of(opened, trial)
  assert (row['state'], row['epochs']) == ('pruned', 1)
  assert (opened.run_of(0, 0) / 'epochs.txt').read_text() == '1\n'


def test_a_lost_trial_goes_on_from_its_checkpoint_once(open_fake, work) -> None:
  opened = open_fake()
  begin(opened, dead_owner())
  work(opened, trials=1)
  (trial,) = opened.trials()
  assert trial.value == accuracy(trial.params['x'], EPOCHS)
  assert (opened.run_of(0, 0) / 'epochs.txt').read_text() == '1\n2\n3\n4\n'
  work(opened, trials=1)
  assert len(opened.trials()) == 1


def test_a_stopped_trial_is_left_to_the_next_worker(open_fake, work) -> None:
  opened = open_fake()
  work(opened, lambda *_, **__: {}, trials=2)
  assert states(opened) == ['waiting']  # and no second one was begun
  work(opened, trials=2)
  assert states(opened) == ['complete'] * 2


def test_a_stop_while_a_run_is_built_is_not_forgotten(open_fake, work) -> None:
  def train(config, run, progress, stop, **options):
    os.kill(os.getpid(), signal.SIGTERM)  # nothing looks out for it yet but the worker
    with stop_signals(stop):
      return {} if stop.asked else {'val_accuracy': 0.5, 'last_epoch': 1}

  opened = open_fake()
  work(opened, train, trials=2)
  assert states(opened) == ['waiting']


@pytest.mark.parametrize(('seeds', 'state'), [(1, 'complete'), (2, 'waiting')])
def test_a_stop_in_the_last_part_of_a_run_ends_the_worker_after_it(
  open_fake, work, seeds, state
) -> None:
  """The run comes to its end all the same, and nothing is begun after it."""

  def train(config, run, progress, stop, **options):
    with stop_signals(stop):
      os.kill(os.getpid(), signal.SIGTERM)
    return {'val_accuracy': 0.5, 'last_epoch': 1}

  opened = open_fake(seeds=seeds)
  work(opened, train, trials=3)
  assert states(opened) == [state]
  assert len(opened.trials()[0].user_attrs[RESULTS]) == 1


def test_a_worker_ends_where_its_command_is_gone_from_the_start(
  open_fake, work, monkeypatch
) -> None:
  monkeypatch.setenv(worker.PARENT, '1234567')  # no process, and not this one's parent

  def train(*_, stop, **__):
    for _ in range(100):
      if stop.asked:
        return {}
      time.sleep(0.1)
    raise AssertionError('it was not asked to stop')

  opened = open_fake()
  work(opened, train, trials=1)
  assert states(opened) == ['waiting']


def test_a_trial_whose_process_is_lost_again_and_again_has_failed(open_fake, work) -> None:
  opened = open_fake()
  trial, owner = begin(opened, None), dead_owner()
  for _ in range(worker._MOST_KILLS):
    trial.set_user_attr(OWNER, owner)
    work(opened, lambda *_, **__: {}, trials=1)  # gets no further
    assert states(opened) == ['waiting']
  trial.set_user_attr(OWNER, owner)
  work(opened, trials=1)
  (ended,) = opened.trials()
  row = row_of(opened, ended)
  assert (row['state'], row['epochs']) == ('failed', 2)
  assert row['reason'] == 'its process was lost 6 times in a row after epoch 2'


def test_what_another_worker_has_taken_up_is_not_told(open_fake) -> None:
  """As after a machine has slept for long."""
  opened = open_fake()
  mine, other = claims.new_owner(), claims.new_owner()
  trial = begin(opened, mine)

  def train(*arguments, **options):
    trial.set_user_attr(OWNER, other)
    return fake_train(*arguments, **options)

  assert not attempt.Attempt(opened, fake_study.Space(), trial, mine, train, Stop()).run()
  (found,) = opened.trials()
  assert found.state is optuna.trial.TrialState.RUNNING
  assert found.user_attrs[OWNER] == other
  assert RESULTS not in found.user_attrs


def test_a_full_disk_ends_the_worker_and_no_trial(open_fake, work) -> None:
  opened = open_fake()

  def train(*_, **__):
    with disk_errors(opened.folder):
      raise OSError(errno.ENOSPC, 'No space left on device')

  with pytest.raises(UserError, match='the disk is full'):
    work(opened, train, trials=1)
  assert states(opened) == ['waiting']
  work(opened, trials=1)
  assert states(opened) == ['complete']


def test_a_trial_whose_folder_is_locked_is_tried_later(
  open_fake, work, monkeypatch, capsys
) -> None:
  """As where its owner was silent for long, but trains on."""
  monkeypatch.setattr(worker, '_SECONDS_BETWEEN_LOOKS', 0.01)
  monkeypatch.setattr(worker, '_SECONDS_BETWEEN_TRIES', 0.05)
  opened, tries = open_fake(), []
  begin(opened, dead_owner())

  def train(config, run, *arguments, **options):
    tries.append(run.parent.name)
    with contextlib.ExitStack() as other:
      if tries.count('00000') <= 2 and run.parent.name == '00000':
        other.enter_context(run_lock(run))
      with run_lock(run):
        pass
    return fake_train(config, run, *arguments, **options)

  work(opened, train, trials=2)
  assert tries == ['00000', '00001', '00000', '00000']  # and another one begins meanwhile
  assert states(opened) == ['complete'] * 2
  assert (opened.run_of(0, 0) / 'epochs.txt').read_text() == '1\n2\n3\n4\n'
  assert capsys.readouterr().err.count('trial 0 waits: another process is training in') == 1


class TestWatch:
  def trial(self, owner, pulse=None) -> optuna.trial.FrozenTrial:
    return optuna.create_trial(
      state=optuna.trial.TrialState.RUNNING, user_attrs={OWNER: owner, PULSE: pulse}
    )

  def test_processes_of_this_machine_are_looked_at(self) -> None:
    watch, mine = claims.Watch(), claims.new_owner()
    assert watch.is_owned(self.trial(mine))
    assert not watch.is_owned(self.trial({**mine, 'started': mine['started'] - 6000}))
    assert not watch.is_owned(self.trial(dead_owner()))
    assert not watch.is_owned(self.trial(None))

  def test_a_process_is_the_same_when_the_clock_is_set(self, monkeypatch) -> None:
    mine = claims.new_owner()
    by_clock = claims.psutil.Process.create_time
    monkeypatch.setattr(claims.psutil.Process, 'create_time', lambda self: by_clock(self) + 60)
    assert claims.Watch().is_owned(self.trial(mine))
    with subprocess.Popen(['sleep', '60']) as later:  # has the number of an earlier one
      there = claims.process_lives({**mine, 'pid': later.pid})
      later.kill()
    assert not there

  def test_of_other_machines_the_pulse_is_watched(self, monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr(claims.time, 'monotonic', lambda: now[0])
    watch, owner = claims.Watch(), {**claims.new_owner(), 'machine': 'elsewhere'}
    assert watch.is_owned(self.trial(owner, [1, 0.0]))
    now[0] += claims.LOST_AFTER - 1
    assert watch.is_owned(self.trial(owner, [1, 0.0]))
    assert watch.is_owned(self.trial(owner, [2, 0.0]))
    now[0] += claims.LOST_AFTER - 1
    assert watch.is_owned(self.trial(owner, [2, 0.0]))
    now[0] += 2
    assert not watch.is_owned(self.trial(owner, [2, 0.0]))
    assert watch.is_owned(self.trial({**owner, 'token': 'other'}, [2, 0.0]))
