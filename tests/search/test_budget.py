"""What the trials of a study have cost, and whether another may begin."""

import optuna
import pytest

from cifar_jax.search import budget
from cifar_jax.search.attributes import MADE_EPOCHS, PLANNED_EPOCHS, PULSE
from cifar_jax.utils.errors import UserError


def trial(state, seconds=0.0, made=0, planned=0) -> optuna.trial.FrozenTrial:
  value = 0.5 if state == 'COMPLETE' else None
  kind = optuna.trial.TrialState[state]
  attributes = {PULSE: [1, seconds], MADE_EPOCHS: made, PLANNED_EPOCHS: planned}
  return optuna.create_trial(state=kind, value=value, user_attrs=attributes)


def test_what_runs_counts_with_what_it_plans() -> None:
  trials = [
    trial('COMPLETE', 90.0, made=10, planned=12),
    trial('FAIL', 30.0, made=2, planned=12),
    trial('RUNNING', 15.0, made=3, planned=10),
    optuna.create_trial(state=optuna.trial.TrialState.WAITING),
  ]
  assert budget.spent(trials) == (3, 22, 2.25)
  assert budget.spent(trials, ended_only=True) == (2, 12, 2.25)
  assert budget.Budget(trials=4).allows_another(budget.spent(trials))
  assert not budget.Budget(trials=3).allows_another(budget.spent(trials))
  assert not budget.Budget(trials=9, epochs=22).allows_another(budget.spent(trials))
  assert not budget.Budget(minutes=2).allows_another(budget.spent(trials))
  assert budget.Budget(trials=4, minutes=4.5).share(budget.spent(trials)) == 0.75


def test_trials_that_never_get_to_an_epoch_use_up_a_budget_of_epochs() -> None:
  trials = [trial('COMPLETE', made=2), *[trial(state) for state in ('FAIL', 'PRUNED', 'FAIL')]]
  assert budget.spent(trials).epochs == 5
  assert not budget.Budget(epochs=5).allows_another(budget.spent(trials))


def test_it_is_above_nothing() -> None:
  with pytest.raises(UserError, match=r'--minutes=0: give a number above 0'):
    budget.Budget(minutes=0.0)
