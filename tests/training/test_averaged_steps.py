"""Steps that keep an average, against NumPy on single steps and against Optax."""

from typing import Any

import jax
import numpy as np
import optax
import pytest

from cifar_jax.optim import Plan, make_average
from cifar_jax.training import steps
from tests.helpers.pure_steps import Linear, Trainer


def collections_of(state: steps.TrainState) -> dict[str, Any]:
  return {'params': state.params, 'batch_stats': state.batch_stats}


def test_average_of_weights_and_statistics_by_hand() -> None:
  """Every 2 of 7 steps and at the end, against NumPy on the trajectory of single steps."""
  section = {'name': 'lookahead', 'every_steps': 2, 'decay': 0.9, 'power': 3.0}
  options: dict[str, Any] = {'optimizer': optax.sgd(0.5), 'drop_remainder': True}
  average = make_average(section, Plan(7, 2), optax.constant_schedule(0.5))
  trainer = Trainer(Linear(batch_norm=True), average=average, **options)
  plain = Trainer(Linear(batch_norm=True), **options)
  state = trainer.start
  slow = jax.device_get(collections_of(state))
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(state.averaged), slow)
  for step in range(1, 8):
    # One plain step from the same state, whose averaging is then done here.
    fast, _ = plain.dispatch(state.replace(averaged=()))
    expected = jax.device_get(collections_of(fast))
    state, _ = trainer.dispatch(state)
    if step % 2 == 0 or step == 7:
      weight = 1.0 if step == 7 else 0.9**2 * (step / 7) ** 3
      expected = slow = jax.tree.map(lambda s, f, w=weight: w * s + (1 - w) * f, slow, expected)
    for found in (collections_of(state), *([state.averaged] if expected is slow else [])):
      jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-7), found, expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-7), state.averaged, slow)


@pytest.mark.parametrize(
  'rule',
  [
    optax.sgd,
    pytest.param(
      lambda rate: optax.adamw(rate, b1=0, weight_decay=0.1), marks=pytest.mark.thorough
    ),
  ],
)
def test_schedule_free_is_that_of_optax(rule) -> None:
  """Optax keeps y and z and computes x from them, this keeps x and z and computes y."""
  schedule = optax.constant_schedule(0.05)
  average = make_average({'name': 'schedule_free', 'beta': 0.8}, Plan(9, 3), schedule)
  trainer = Trainer(Linear(), optimizer=rule(0.05), average=average)
  peer = Trainer(Linear(), optimizer=optax.contrib.schedule_free(rule(0.05), 0.05, b1=0.8))
  state, expected = trainer.start, peer.start
  for _ in range(9):
    state, report = trainer.dispatch(state)
    expected, expected_report = peer.dispatch(expected)
    np.testing.assert_allclose(report.loss, expected_report.loss, rtol=1e-5)
    found = steps.evaluated_variables(trainer.recipe, state)['params']
    averaged = optax.contrib.schedule_free_eval_params(expected.opt_state, expected.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), found, averaged)
    fast = state.params, expected.opt_state.z
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *fast)


def test_state_has_no_averages_unless_averages_are_wanted() -> None:
  assert Trainer(Linear()).start.averaged == ()
