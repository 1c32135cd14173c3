"""Samplers and pruners: what they need, and that a grid comes to its end."""

import argparse

import optuna
import pytest
from optuna import distributions as kinds

from cifar_jax.commands import search
from cifar_jax.search import samplers
from cifar_jax.utils.errors import UserError
from tests.helpers import fake_study


def test_the_command_line_knows_them_all() -> None:
  parser = argparse.ArgumentParser()
  search.add_parser(parser.add_subparsers())
  (verbs,) = parser._subparsers._group_actions
  actions = {action.dest: action for action in verbs.choices['search']._actions}
  assert set(actions['sampler'].choices) == set(samplers.SAMPLERS)
  nothing = type(samplers.make_pruner('none'))
  made = {name: type(samplers.make_pruner(name)) for name in actions['pruner'].choices}
  assert [name for name, kind in made.items() if kind is nothing] == ['none']


@pytest.mark.parametrize(
  ('sampler', 'pruner', 'objectives', 'said'),
  [
    ('tpe', 'asha', ('val_accuracy', 'seconds'), '--pruner=asha knows one objective only'),
    ('cmaes', 'none', ('val_accuracy', 'seconds'), '--sampler=cmaes knows one objective only'),
    ('tpe', 'median', ('seconds',), 'which seconds is not'),
  ],
)
def test_what_cannot_be_is_refused(sampler, pruner, objectives, said) -> None:
  with pytest.raises(UserError, match=said):
    samplers.check(sampler, pruner, objectives)


def test_a_missing_package_is_named(monkeypatch) -> None:
  monkeypatch.setattr(samplers.importlib.util, 'find_spec', lambda _: None)
  for sampler, package in (('gp', 'torch'), ('cmaes', 'cmaes')):
    with pytest.raises(UserError, match=f'needs {package} .*pip install {package}, or'):
      samplers.check(sampler, 'none', ('val_accuracy',))


def test_a_trial_is_proposed_the_same_by_every_worker(open_fake) -> None:
  first, again, later = (
    samplers.make_sampler('random', 3, number).sample_independent(
      open_fake().study, None, 'x', kinds.FloatDistribution(0, 1)
    )
    for number in (7, 7, 8)
  )
  assert first == again != later


def test_a_grid_ends_after_its_last_combination(open_fake, work, monkeypatch) -> None:
  class Grid(fake_study.Space):
    def propose(self, trial, study):
      config = super().propose(optuna.trial.FixedTrial({'x': 0.1}), study)
      config.optimizer.learning_rate = trial.suggest_categorical('rate', [0.1, 0.2])
      config.batch_size = trial.suggest_int('batch', 32, 96, step=32)
      return config

  monkeypatch.setattr(fake_study, 'Space', Grid)
  opened = open_fake(sampler='grid')
  work(opened, trials=50)
  tried = {(trial.params['rate'], trial.params['batch']) for trial in opened.trials()}
  assert len(tried) == len(opened.trials()) == 6


def test_a_grid_of_steps_and_choices_has_an_end() -> None:
  samplers.check_ranges(
    'grid',
    {
      'choice': kinds.CategoricalDistribution(('a', 'b')),
      'step': kinds.FloatDistribution(0.0, 1.0, step=0.1),
      'whole': kinds.IntDistribution(1, 4),
      'one': kinds.FloatDistribution(1.0, 1.0),
    },
  )
  samplers.check_ranges('tpe', {'rate': kinds.FloatDistribution(0.0, 1.0)})
