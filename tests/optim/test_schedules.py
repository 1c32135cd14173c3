"""Schedules against values worked out by hand, at the boundaries and at both ends of a run."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from cifar_jax.optim import Plan, schedules
from cifar_jax.utils.errors import UserError


def config(name: str, **options) -> ConfigDict:
  """A section as configs/base.py gives it: every option there, None where not set."""
  section = ConfigDict(
    {
      'name': name,
      'decay': placeholder(float),
      'boundaries': placeholder(tuple),
      'factors': placeholder(tuple),
      'warmup_epochs': placeholder(float),
      'start_factor': placeholder(float),
      'peak_epoch': placeholder(float),
      'end_factor': placeholder(float),
      'factor': placeholder(float),
    }
  )
  section.update(options)
  return section.lock()


def rates(name, steps, learning_rate=1.0, steps_per_epoch=10, epochs=10.0, **options):
  schedule = schedules.create(
    config(name, **options), learning_rate, Plan(0, steps_per_epoch).over(epochs)
  )
  return [float(schedule(step)) for step in steps]


def test_constant():
  assert rates('constant', [0, 1, 10**6], 0.3) == pytest.approx([0.3] * 3, rel=1e-7)


def test_piecewise_changes_with_the_first_update_of_the_epoch():
  got = rates('piecewise', [0, 29, 30, 59, 60, 99], 0.1, boundaries=(3, 6), factors=(0.5, 0.1))
  assert got == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.01, 0.01], rel=1e-6)


def test_piecewise_divides_by_ten_each_time_by_default_and_takes_fractions_of_an_epoch():
  got = rates('piecewise', [24, 25, 79, 80], 0.1, boundaries=(2.5, 8.0))
  assert got == pytest.approx([0.1, 0.01, 0.01, 0.001], rel=1e-6)


def test_piecewise_the_later_of_two_boundaries_on_one_update_counts():
  got = rates(
    'piecewise', [1, 2, 5], steps_per_epoch=1, boundaries=(2.1, 2.2, 5), factors=(0.5, 0.25, 0.0)
  )
  assert got == pytest.approx([1.0, 0.25, 0.0], rel=1e-6)


def test_cosine():
  got = rates('cosine', [0, 25, 50, 75, 99, 100, 150], 2.0)
  last = 1 + math.cos(math.pi * 0.99)
  expected = [2.0, 1 + math.sqrt(0.5), 1.0, 1 - math.sqrt(0.5), last, 0.0, 0.0]
  assert got == pytest.approx(expected, abs=3e-7)


def test_cosine_end_factor():
  assert rates('cosine', [0, 50, 100], 2.0, end_factor=0.1) == pytest.approx([2.0, 1.1, 0.2])


def test_warmup_cosine():
  got = rates('warmup_cosine', [0, 1, 10, 20, 60, 100, 101], 0.4, warmup_epochs=2.0, end_factor=0.1)
  assert got == pytest.approx([0.0, 0.02, 0.2, 0.4, 0.22, 0.04, 0.04], rel=1e-6)


def test_warmup_cosine_may_start_above_zero_and_without_warm_up():
  got = rates('warmup_cosine', [0, 10, 20], warmup_epochs=2.0, start_factor=0.5)
  assert got == pytest.approx([0.5, 0.75, 1.0])
  assert rates('warmup_cosine', [0, 50], warmup_epochs=0.0) == pytest.approx([1.0, 0.5])


def test_triangular_is_the_schedule_of_airbench94():
  # 9.9 epochs of 48 updates: 476 updates, the peak at int(0.23 * 476) = 109, linear between.
  steps = np.arange(476)
  expected = np.interp(steps, [0, 109, 476], [0.2, 1.0, 0.07])
  got = rates('triangular', steps, steps_per_epoch=48, epochs=9.9)
  np.testing.assert_allclose(got, expected, rtol=1e-6)
  assert got[0] == pytest.approx(0.2)
  assert got[109] == max(got) == 1.0
  assert got[475] == pytest.approx(0.07 + 0.93 / 367, rel=1e-6)


def test_triangular_with_its_own_peak_and_ends():
  options = {'start_factor': 0.0, 'peak_epoch': 2.5, 'end_factor': 0.5}
  got = rates('triangular', [0, 5, 25, 75 // 2 + 25, 100], 2.0, **options)
  assert got == pytest.approx([0.0, 0.4, 2.0, 2 - 37 / 75, 1.0], rel=1e-6)
  falling = rates('triangular', [0, 50, 100], 2.0, peak_epoch=0.0, end_factor=0.0)
  assert falling == pytest.approx([2.0, 1.0, 0.0])
  assert rates('triangular', [0, 50, 100], 2.0, peak_epoch=10.0)[2] == pytest.approx(2.0)


def test_exponential_is_smooth_and_per_epoch():
  got = rates('exponential', [0, 5, 10, 100], 0.1, factor=0.81)
  assert got == pytest.approx([0.1, 0.09, 0.081, 0.1 * 0.81**10], rel=1e-6)


@pytest.mark.parametrize(
  ('learning_rate', 'decay', 'step', 'rounded', 'digits'),
  [
    (1e-4, 1e-6, 312_600, 7.62e-5, 7),  # cnn_fchollet after 200 epochs
    (0.1, 1e-6, 156_300, 0.0865, 4),  # tutorial_4layer after 100 epochs
    (0.01, 0.01 / 50, 21_250, 0.0019, 4),  # catsdogs_scratch after 34 epochs
  ],
)
def test_time_decay_of_the_articles(learning_rate, decay, step, rounded, digits):
  [got] = rates('time_decay', [step], learning_rate, decay=decay)
  assert got == pytest.approx(learning_rate / (1 + decay * step), rel=1e-6)
  assert round(got, digits) == rounded


@pytest.mark.parametrize('decay', [1e-6, 2e-4, 0.1, 3e-9])
def test_time_decay_in_float32(decay):
  schedule = schedules.create(config('time_decay', decay=decay), 1e-4, Plan(312_600, 1563))
  steps = np.unique(np.geomspace(1, 312_600, 5000).astype(np.int32))
  steps = np.concatenate([[0], steps, [2**24 + 1, 10**9]]).astype(np.int32)
  got = np.asarray(jax.jit(jax.vmap(schedule))(steps), np.float64)
  np.testing.assert_allclose(got, 1e-4 / (1 + decay * steps.astype(np.float64)), rtol=1e-6)


ALL = {
  'constant': {},
  'piecewise': {'boundaries': (1,)},
  'cosine': {},
  'warmup_cosine': {},
  'triangular': {},
  'exponential': {'factor': 0.9},
  'time_decay': {'decay': 1e-3},
}


def test_all_schedules_are_listed_here():
  assert ALL.keys() == schedules.SCHEDULES.keys()


@pytest.mark.parametrize('name', ALL)
def test_every_schedule_maps_an_int32_scalar_to_a_float32_scalar(name):
  schedule = schedules.create(config(name, **ALL[name]), 0.1, Plan(100, 10))
  for function in (schedule, jax.jit(schedule)):
    rate = function(jnp.int32(7))
    assert (rate.dtype, rate.shape, rate.weak_type) == (jnp.float32, (), False)
    # XLA may fuse a multiplication and an addition into one rounding.
    assert float(rate) == pytest.approx(float(schedule(7)), rel=3e-7)


@pytest.mark.parametrize('name', ALL)
def test_every_schedule_survives_a_run_of_one_update(name):
  options = {**ALL[name], **({'warmup_epochs': 0.5} if name == 'warmup_cosine' else {})}
  schedule = schedules.create(config(name, **options), 0.1, Plan(1, 1))
  assert math.isfinite(float(schedule(0)))


@pytest.mark.parametrize(
  ('steps_per_epoch', 'epochs', 'expected'),
  [(48, 9.9, 476), (48, 15, 720), (1563, 200, 312_600), (10, 0.1 * 3, 3), (7, 0.1, 1)],
)
def test_total_steps(steps_per_epoch, epochs, expected):
  assert Plan(0, steps_per_epoch).over(epochs) == (expected, steps_per_epoch)


def test_a_duration_that_misses_a_whole_update_by_rounding_is_that_update():
  # 0.29 * 100 is 28.999999999999996 in floating point.
  got = rates('piecewise', [28, 29], steps_per_epoch=100, boundaries=(0.29,))
  assert got == pytest.approx([1.0, 0.1])


@pytest.mark.parametrize(
  ('name', 'options', 'message'),
  [
    (
      'cosine',
      {'boundaries': (1, 2)},
      "schedule 'cosine' takes no --config.schedule.boundaries; it takes end_factor; "
      '--config.schedule.boundaries=None unsets it',
    ),
    (
      'constant',
      {'decay': 0.1},
      "schedule 'constant' takes no --config.schedule.decay; it takes no options; "
      '--config.schedule.decay=None unsets it',
    ),
    ('time_decay', {}, "schedule 'time_decay' needs --config.schedule.decay"),
    (
      'cosin',
      {},
      "--config.schedule.name 'cosin' is unknown; did you mean 'cosine'? it is one of constant, "
      'cosine, exponential, piecewise, time_decay, triangular, warmup_cosine',
    ),
    (
      'piecewise',
      {'boundaries': (3, 2)},
      '--config.schedule.boundaries must be a tuple of epochs above 0, each later than the one '
      'before, not (3, 2)',
    ),
    (
      'piecewise',
      {'boundaries': (1, 2), 'factors': (0.1,)},
      '--config.schedule.factors has 1 values and --config.schedule.boundaries 2; there must be '
      'one factor for each boundary',
    ),
    (
      'piecewise',
      {'boundaries': (1,), 'factors': (-0.1,)},
      '--config.schedule.factors must be a tuple of numbers not below 0, not (-0.1,)',
    ),
    (
      'warmup_cosine',
      {'warmup_epochs': 10.0},
      '--config.schedule.warmup_epochs is 10, which must be less than --config.epochs, 10',
    ),
    (
      'triangular',
      {'peak_epoch': 10.5},
      '--config.schedule.peak_epoch is 10.5, which must not be more than --config.epochs, 10',
    ),
    (
      'exponential',
      {'factor': 0.0},
      '--config.schedule.factor must be a number above 0, not 0.0',
    ),
    (
      'time_decay',
      {'decay': math.nan},
      '--config.schedule.decay must be a number not below 0, not nan',
    ),
  ],
)
def test_mistakes(name, options, message):
  for check in (schedules.validate, lambda *args: schedules.create(args[0], 0.1, Plan(100, 10))):
    with pytest.raises(UserError) as error:
      check(config(name, **options), 10.0)
    assert str(error.value) == message


def test_no_name():
  section = config('cosine').unlock()
  section.name = None
  with pytest.raises(UserError, match=r'--config\.schedule\.name is not set; it is one of const'):
    schedules.validate(section)
