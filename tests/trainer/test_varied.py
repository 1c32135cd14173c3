"""Numbers in which runs of one program differ: which may, and that each run has its own."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax import optim
from cifar_jax.optim import Plan, schedules
from cifar_jax.trainer import together_rules, varied
from configs import base
from tests.helpers.runs import changed

PLAN = Plan(total_steps=60, steps_per_epoch=10)
REQUIRED = {
  'piecewise': {'boundaries': (2, 4)},
  'exponential': {'factor': 0.5},
  'time_decay': {'decay': 0.01},
}
EVERY_DAY = ('sgd', 'constant', 'triangular')
PARAMS = {
  'kernel': np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4),
  'bias': np.ones(4, np.float32),
}
GRADIENTS = {'kernel': np.cos(PARAMS['kernel']), 'bias': np.array([0.1, -0.2, 0.3, 2], np.float32)}


@dataclasses.dataclass
class _Recipe:
  """What differs from run to run."""

  optimizer: Any = None
  training_loss: Any = None


def config_with(**values) -> ConfigDict:
  return changed(base.get_config(), **values)


@pytest.mark.parametrize(
  ('values', 'reason'),
  [
    ({'seed': 1, 'tags': ('other',)}, ''),
    ({'optimizer.learning_rate': 0.1}, ''),
    ({'loss.label_smoothing': 0.1}, ''),
    ({'schedule.name': 'cosine', 'schedule.end_factor': 0.1}, ''),
    ({'batch_size': 64, 'optimizer.epsilon': 1e-3}, 'they differ in batch_size, optimizer.epsilon'),
    ({'model.widths': (8,)}, 'they differ in model.widths'),
  ],
)
def test_what_may_differ(values, reason) -> None:
  one = config_with()
  assert varied.objection([one, config_with(**values)]) == reason


@pytest.mark.parametrize(
  ('both', 'values', 'reason'),
  [
    ({'data.placement': 'host'}, {}, '--config.data.placement=host gives each run batches'),
    ({'parallel': 'pmap'}, {}, '--config.parallel=pmap'),
    ({'early_stopping.patience': 1}, {}, '--config.early_stopping ends each run at an epoch'),
    ({'plateau.patience': 1}, {}, '--config.plateau lowers the rate of each run'),
    ({'profile.steps': 1}, {}, '--config.profile records one run'),
    ({'optimizer.name': 'sgd'}, {'optimizer.momentum': 0.9}, 'momentum=0 there is no velocity'),
    ({'weight_averaging.name': 'schedule_free'}, {'optimizer.learning_rate': 0.1}, 'schedule_free'),
  ],
)
def test_what_cannot_be_together(both, values, reason) -> None:
  """Even seeds alone; of the last two, seeds can."""
  one, other = config_with(**both), config_with(**{**both, 'seed': 1, **values})
  assert reason in varied.objection([one, other])
  if values:
    assert varied.objection([one, config_with(**both, seed=1)]) == ''


def test_groups_with_a_decay_of_their_own_are_refused() -> None:
  several = [config_with(**{'optimizer.name': 'sgd', 'optimizer.weight_decay': d}) for d in (0, 1)]
  for config in several:
    with config.unlocked():
      config.optimizer.groups = ConfigDict({'biases': {'pattern': '.*/bias'}})
  assert varied.objection(several) == ('--config.optimizer.groups have a weight_decay of their own')


@pytest.mark.parametrize(
  'name',
  [
    pytest.param(name, marks=() if name in EVERY_DAY else pytest.mark.thorough)
    for name in schedules.SCHEDULES
  ],
)
def test_every_schedule_is_that_of_the_run(name) -> None:
  """Rates of three runs for an index that is traced, to rounding beside the highest."""
  values = {f'schedule.{key}': value for key, value in REQUIRED.get(name, {}).items()}
  several = [
    config_with(
      **{'optimizer.name': 'sgd', 'optimizer.learning_rate': rate, 'schedule.name': name, **values}
    )
    for rate in (0.3, 1e-4, 7.0)
  ]
  rule = varied.make_varied_recipe(_Recipe(), several[0], several, PLAN)

  @jax.jit
  @jax.vmap
  def rates(run):
    optimizer = rule(run).optimizer
    one = {'p': jnp.ones(())}

    def step(state, _):
      updates, state = optimizer.update(one, state, one)
      return state, -updates['p']

    return jax.lax.scan(step, optimizer.init(one), None, length=PLAN.total_steps)[1]

  found = rates(jnp.arange(3))
  for row, config in zip(found, several, strict=True):
    schedule = varied.make_schedule(config, PLAN)
    expected = jax.jit(jax.vmap(schedule))(jnp.arange(PLAN.total_steps))
    highest = config.optimizer.learning_rate
    np.testing.assert_allclose(row, expected, rtol=0, atol=2e-7 * highest)


@pytest.mark.parametrize(
  ('name', 'option'),
  [
    pytest.param(name, option, marks=() if name in EVERY_DAY else pytest.mark.thorough)
    for name in optim.OPTIMIZERS
    for option in varied.OF_OPTIMIZER
    if any(field.name == option for field in dataclasses.fields(optim.OPTIMIZERS[name]))
  ],
)
def test_decay_and_momentum_of_every_rule_may_be_traced(name, option) -> None:
  """Three updates with values from a table are those with the values themselves."""
  several = [
    config_with(**{'optimizer.name': name, f'optimizer.{option}': value}) for value in (0.3, 0.8)
  ]
  rule = varied.make_varied_recipe(_Recipe(), several[0], several, PLAN)

  only_kernels = name == 'airbench_muon'
  start = {'kernel': PARAMS['kernel']} if only_kernels else PARAMS
  gradients = {key: GRADIENTS[key] for key in start}

  def updated(optimizer):
    params, state = start, optimizer.init(start)
    for _ in range(3):
      updates, state = optimizer.update(gradients, state, params)
      params = jax.tree.map(lambda p, u: p + u, params, updates)
    return params

  found = jax.vmap(lambda run: updated(rule(run).optimizer))(jnp.arange(2))
  for run, config in enumerate(several):
    schedule = varied.make_schedule(config, PLAN)
    expected = updated(optim.create(config.optimizer, lambda _, own=schedule: own, PLAN))
    jax.tree.map(
      lambda left, right, run=run: np.testing.assert_allclose(left[run], right, rtol=1e-5),
      found,
      expected,
    )


@pytest.mark.parametrize(
  ('there', 'compiled', 'expected'),
  [
    (1000, lambda runs: 100 * runs, 5),
    (400, lambda runs: 50 * runs, 5),  # 0.9 of it holds 5 of at least 70
    (200, lambda runs: 50 * runs, 2),
    (500, lambda runs: 150 * runs, 3),
    (500, lambda runs: math.inf if runs > 2 else 100 * runs, 2),
    (10, lambda runs: 100 * runs, 1),
  ],
)
def test_as_many_runs_as_the_memory_holds(there, compiled, expected) -> None:
  asked = []

  def noted(runs):
    asked.append(runs)
    return compiled(runs)

  found = together_rules.most_that_fit(5, there, lambda runs: 70.0 * runs, noted)
  assert found == expected
  assert found == 1 or compiled(found) <= 0.9 * there
  assert all(70 * runs <= 0.9 * there for runs in asked)
