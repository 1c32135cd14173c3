"""The page of a study, and what it says of the options."""

import random

import optuna
import pytest

from cifar_jax.search import page, results, rows
from cifar_jax.trials import test_looks
from tests.helpers import fake_study


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
def test_choices_that_are_no_words_have_an_axis_and_an_importance(
  open_fake, work, monkeypatch
) -> None:
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
  assert set(page.importances(opened)) == {'widths', 'x'}


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


def test_what_was_found_is_drawn_by_trial_and_by_both_objectives(open_fake) -> None:
  pytest.importorskip('matplotlib')
  opened = open_fake(objectives=('seconds', 'val_accuracy'))
  for pair in ((10, 0.5), (20, 0.75), (30, 0.625)):
    opened.study.tell(opened.study.ask(), pair)
  opened.study.tell(opened.study.ask(), state=optuna.trial.TrialState.FAIL)
  trials = opened.trials()
  drawn = page._charts(opened, trials, [rows.row_of(opened, trial) for trial in trials])
  assert set(drawn) == {'history', 'front'}
  (axes,) = drawn['front'].axes
  assert (axes.get_xlabel(), axes.get_ylabel()) == ('seconds', 'val_accuracy (%)')
  beaten, best = (marks.get_offsets().tolist() for marks in axes.collections)
  assert (beaten, best) == ([[30, 62.5]], [[10, 50], [20, 75]])
  (axes,) = drawn['history'].axes
  complete, failed = (marks.get_offsets().tolist() for marks in axes.collections)
  assert (complete, failed) == ([[0, 10], [1, 20], [2, 30]], [[3, 10]])  # at the foot
  assert axes.lines[0].get_ydata().tolist() == [10, 10, 10]  # the best so far
