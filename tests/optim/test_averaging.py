"""Averages of weights against NumPy; that of airbench94 is tested with the steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax import optim
from cifar_jax.optim import Plan, averaging
from cifar_jax.utils.errors import UserError
from configs import quickstart

TOTAL, PER_EPOCH = 12, 3
PLAN = Plan(TOTAL, PER_EPOCH)
CONSTANT = optax.constant_schedule(0.1)
FAST = np.random.default_rng(0).standard_normal((TOTAL + 1, 4)).astype(np.float32)


def slow_trajectory(section) -> list[np.ndarray]:
  """The slow copy before and after each of 12 updates that make the fast weights FAST[1:]."""
  average = averaging.make_average(section, PLAN, CONSTANT)
  assert average is not None
  assert average.evaluated
  update, slow, found = jax.jit(average.update), {'w': jnp.asarray(FAST[0])}, [FAST[0]]
  for step in range(1, TOTAL + 1):
    slow, fast = update(jnp.int32(step), slow, {'w': FAST[step]})
    np.testing.assert_array_equal(fast['w'], FAST[step])
    found.append(np.asarray(slow['w']))
  return found


@pytest.mark.parametrize('every', [1, 4])
def test_ema(every) -> None:
  found = slow_trajectory({'name': 'ema', 'decay': 0.6, 'every_steps': every})
  slow = FAST[0].astype(np.float64)
  for step in range(1, TOTAL + 1):
    if step % every == 0:
      taken = step // every - 1
      decay = min(0.6**every, (1 + taken) / (10 + taken))
      slow = decay * slow + (1 - decay) * FAST[step]
    np.testing.assert_allclose(found[step], slow, atol=1e-6)


def test_swa_is_the_mean_of_the_ends_of_epochs_from_its_start_on() -> None:
  found = slow_trajectory({'name': 'swa', 'start_epoch': 2.0})
  for step in range(TOTAL + 1):
    expected = FAST[step] if step <= 6 else FAST[6 : step + 1 : PER_EPOCH].mean(0)
    np.testing.assert_allclose(found[step], expected, atol=1e-6)


def test_swa_of_given_steps() -> None:
  found = slow_trajectory({'name': 'swa', 'start_epoch': 1.0, 'every_steps': 2})
  np.testing.assert_allclose(found[12], FAST[[3, 5, 7, 9, 11]].mean(0), atol=1e-6)


def test_schedule_free_weighs_by_the_square_of_the_highest_rate_so_far() -> None:
  """Warmed up over four updates, lowered after eight; gradients 0.8 of the way to the average."""
  rates = np.asarray([0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1], np.float32)
  section = {'name': 'schedule_free', 'beta': 0.8}
  average = averaging.make_average(section, PLAN, lambda step: jnp.asarray(rates)[step])
  assert average is not None
  assert average.gradients_at is not None
  slow = {'params': {'w': jnp.asarray(FAST[0])}, 'batch_stats': {'mean': jnp.zeros(4)}}
  weights = np.asarray([1, 4, 9, 16, 16, 16, 16, 16, 16, 16, 16, 16]) / 16
  for step in range(1, TOTAL + 1):
    fast = {'params': {'w': jnp.asarray(FAST[step])}, 'batch_stats': {'mean': jnp.ones(4) * step}}
    slow, same = average.update(jnp.int32(step), slow, fast)
    assert same is fast
    expected = np.average(FAST[1 : step + 1], axis=0, weights=weights[:step])
    np.testing.assert_allclose(slow['params']['w'], expected, atol=1e-6)
    np.testing.assert_array_equal(slow['batch_stats']['mean'], step)
    between = average.gradients_at(slow['params'], fast['params'])
    np.testing.assert_allclose(between['w'], 0.2 * FAST[step] + 0.8 * expected, atol=1e-6)


def test_which_average_is_the_result() -> None:
  assert averaging.make_average({'name': 'none'}, PLAN, CONSTANT) is None
  found = {name: averaging.is_evaluated({'name': name}) for name in ('none', 'lookahead', 'ema')}
  assert found == {'none': False, 'lookahead': False, 'ema': True}
  assert averaging.is_evaluated({'name': 'swa', 'start_epoch': 1.0})
  assert averaging.is_evaluated({'name': 'schedule_free'})


@pytest.mark.parametrize(
  ('section', 'message'),
  [
    ({'name': 'swa'}, r"averaging 'swa' needs --config\.weight_averaging\.start_epoch"),
    ({'name': 'ema', 'every_steps': 0}, r'averaging\.every_steps must be a whole number from 1 up'),
    ({'name': 'ema', 'power': 1.0}, r"averaging 'ema' takes no --config\.weight_averaging\.power"),
  ],
)
def test_mistakes(section, message) -> None:
  with pytest.raises(UserError, match=message):
    averaging.make_average(section, PLAN, CONSTANT)


@pytest.mark.parametrize(
  ('options', 'message'),
  [
    (
      {'name': 'sgd', 'momentum': 0.9},
      r"'schedule_free' needs --config\.optimizer\.momentum=0, not 0\.9",
    ),
    ({'name': 'lion', 'beta1': 0.9}, r'needs --config\.optimizer\.beta1=0, not 0\.9'),
    ({'name': 'sgd', 'max_norm': 3.0}, r'needs --config\.optimizer\.max_norm=None, not 3\.0'),
  ],
)
def test_schedule_free_takes_the_place_of_momentum(options, message) -> None:
  optimizer = optim.validate({'learning_rate': 0.1, **options})
  averaging.EMA().check_optimizer('optimizer', optimizer)
  averaging.ScheduleFree().check_optimizer('optimizer', optim.validate({'name': 'sgd'}))
  with pytest.raises(UserError, match=message):
    averaging.ScheduleFree().check_optimizer('optimizer', optimizer)


def test_schedule_free_looks_at_the_rules_of_groups_too() -> None:
  config = quickstart.get_config()
  config.weight_averaging.name = 'schedule_free'
  config.optimizer.name = 'sgd'
  config.optimizer.groups = ConfigDict({'biases': {'pattern': '.*/bias', 'weight_decay': 0.0}})
  configs.validate(config)
  config.optimizer.groups.biases.momentum = 0.9
  message = r'needs --config\.optimizer\.groups\.biases\.momentum=0, not 0\.9'
  with pytest.raises(UserError, match=message):
    configs.validate(config)
