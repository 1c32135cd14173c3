"""How workers end, and what that means for their trials; the page at the end."""

import random
import signal
import sys

import optuna
import pytest

from cifar_jax.search import budget, claims, page, results, rows, show, supervisor, worker
from cifar_jax.search.attributes import OWNER
from cifar_jax.trials import test_looks
from cifar_jax.utils.errors import UserError
from tests.helpers import fake_study

CRASHES = """
import os, signal, sys, time
time.sleep(0.5)
os.kill(os.getpid(), signal.SIGSEGV)
"""


@pytest.mark.parametrize(
  ('status', 'out_of_memory', 'expected'),
  [
    (-signal.SIGKILL, False, ''),
    (-signal.SIGKILL, True, 'out of memory: the system killed its process'),
    (-signal.SIGTERM, True, ''),
    (-signal.SIGSEGV, False, 'its process crashed (SIGSEGV)'),
    (-signal.SIGABRT, True, 'its process crashed (SIGABRT)'),
    (3, False, 'its process crashed (status 3)'),
  ],
)
def test_what_a_process_that_ended_is_blamed_for(status, out_of_memory, expected) -> None:
  assert supervisor.blame(status, out_of_memory) == expected


def test_a_crash_costs_the_trial_and_not_the_study(open_fake, monkeypatch, capsys) -> None:
  """The worker that takes the place of the crashed one finds the budget spent."""
  opened, bounds = open_fake(), budget.Budget(1)
  trial = opened.study.ask()
  trial.suggest_float('x', 0, 1)
  starts = []
  start = supervisor._start

  def started(command, log, workers):
    starts.append(command)
    crashes = len(starts) == 1
    child = start([sys.executable, '-c', CRASHES if crashes else ''], log, workers)
    if crashes:
      trial.set_user_attr(OWNER, {**claims.new_owner(), 'pid': child.pid})
    return child

  monkeypatch.setattr(supervisor, '_start', started)
  assert supervisor.supervise(opened, [], 1, bounds, show.Show(bar=False))
  (found,) = opened.trials()
  assert found.state is optuna.trial.TrialState.FAIL
  assert rows.row_of(opened, found)['reason'] == ('its process crashed (SIGSEGV); see worker_0.log')
  assert len(starts) == 2
  assert 'trial    0  failed' in capsys.readouterr().out


def test_another_process_takes_the_place_of_one_that_has_done_many(open_fake, tmp_path) -> None:
  mark = tmp_path / 'been here'
  code = f"""
import pathlib, sys
mark = pathlib.Path({str(mark)!r})
if not mark.exists():
  mark.touch()
  sys.exit({worker.GO_ON})
mark.unlink()
"""
  command, starts = [sys.executable, '-c', code], []
  assert supervisor.supervise(
    open_fake(), command, 1, budget.Budget(1), show.Show(bar=False), lambda: starts.append('start')
  )
  assert not mark.exists()
  assert starts == ['start'] * 2


@pytest.mark.parametrize(
  ('code', 'said'),
  [
    ("print('error: no data'); raise SystemExit(2)", '^no data$'),
    ("raise SystemExit('odd')", r'worker 0 ended 3 times before it began a trial \(status 1: odd'),
  ],
)
def test_what_no_trial_is_to_blame_for_ends_the_study(open_fake, code, said) -> None:
  command = [sys.executable, '-c', code]
  with pytest.raises(UserError, match=said):
    supervisor.supervise(open_fake(), command, 1, budget.Budget(1), show.Show(bar=False))


@pytest.mark.thorough
def test_the_page_shows_what_was_found_and_escapes_it(open_fake, work, monkeypatch) -> None:
  class Words(fake_study.Space):
    def propose(self, trial, study):
      trial.suggest_categorical('<b>', ['<i>', '$a_b$'])
      if trial.number % 2:
        trial.suggest_float('y', 1e-3, 1.0, log=True)
      return super().propose(trial, study)

  monkeypatch.setattr(fake_study, 'Space', Words)
  opened = open_fake()
  work(opened, trials=6)
  text = page.write_page(opened).read_text()
  assert '<b>x' not in text
  assert '<i>' not in text
  assert '&lt;i&gt;' in text
  assert 'http' not in text.replace('http://www.w3.org/', '')
  best = results.best_config(opened.folder).optimizer.learning_rate
  value = fake_study.accuracy(best, fake_study.EPOCHS)
  assert f'<b>{100 * value:.2f} %</b><span>best val_accuracy</span>' in text
  names = {path.name for path in opened.folder.glob('study_*.svg')}
  assert names == {f'study_{name}.svg' for name in ('history', 'importance', 'slices', 'parallel')}
  assert set(page.importances(opened)) == {'<b>', 'x', 'y'}


@pytest.mark.filterwarnings('ignore:Choices for a categorical')
def test_choices_that_are_no_words_have_an_axis(open_fake, work, monkeypatch) -> None:
  """As the widths of a network; a storage gives lists back for tuples."""

  class Widths(fake_study.Space):
    def propose(self, trial, study):
      trial.suggest_categorical('widths', [(16, 32), {'wide': 64}])
      return super().propose(trial, study)

  monkeypatch.setattr(fake_study, 'Space', Widths)
  opened = open_fake()
  work(opened, trials=4)
  axis = next(axis for axis in page._axes(opened.trials()) if axis.name == 'widths')
  assert axis.choices == ('[16, 32]', "{'wide': 64}")
  assert set(axis.values) <= set(axis.choices)
  assert len(axis.positions()) == 4


@pytest.mark.parametrize('objectives', ['val_accuracy', 'val_loss'])
@pytest.mark.parametrize('more', [(), ('seconds',)])
def test_what_makes_trials_good_is_important(open_fake, objectives, more) -> None:
  """Only near its best is 'peak' decisive, and only far from that 'pit' is."""
  opened = open_fake(objectives=(objectives, *more))
  sign = 1 if objectives == 'val_accuracy' else -1
  numbers, kind = random.Random(0), optuna.distributions.FloatDistribution(0, 1)
  for _ in range(100):
    peak, pit = numbers.random(), numbers.random()
    value = sign * (3 * (abs(peak - 0.5) < 0.1) - 3 * (abs(pit - 0.5) < 0.1))
    opened.study.add_trial(
      optuna.create_trial(
        params={'peak': peak, 'pit': pit},
        distributions={'peak': kind, 'pit': kind},
        values=[value, *(1.0 for _ in more)],
      )
    )
  assert list(page.importances(opened)) == ['peak', 'pit']


def test_the_page_of_a_study_without_results_says_so(open_fake) -> None:
  opened = open_fake()
  opened.study.ask()
  text = page.write_page(opened).read_text()
  assert 'No trial has been trained to its end yet.' in text
  assert 'The test set of this study has not been looked at.' in text
  test_looks.record(opened.folder, 'final')
  assert 'was looked at once: by final' in page.write_page(opened).read_text()
