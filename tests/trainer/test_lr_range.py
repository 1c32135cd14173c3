"""The range test against problems whose largest rate is known, and what the command leaves."""

import csv
import math

import jax
import numpy as np
import pytest

from cifar_jax import commands, data
from cifar_jax.commands.lr_range import described
from cifar_jax.optim import Plan
from cifar_jax.trainer import loop, lr_range
from cifar_jax.trainer.lr_range import Measured
from cifar_jax.utils.errors import UserError
from configs import base
from tests.helpers.runs import SILENT, changed, rows_of
from tests.helpers.tiny import LINEAR

CURVATURES = {'steep': 10.0, 'flat': 0.5}  # of a quadratic; SGD diverges from 2 / curvature on
RATES = lr_range.rising_rates(1e-3, 10, 400)


def losses_on_quadratic(config) -> np.ndarray:
  """The loss of each term, c p^2 / 2, before each of the updates, [2, 400]."""
  optimizer, _ = lr_range.make_optimizer(config, RATES, Plan(len(RATES), 10))
  params = dict.fromkeys(CURVATURES, np.float32(1e10))  # far from what underflows

  def update(carry, _):
    params, state = carry
    gradients = {name: c * params[name] for name, c in CURVATURES.items()}
    updates, state = optimizer.update(gradients, state, params)
    return (jax.tree.map(lambda p, u: p + u, params, updates), state), params

  _, found = jax.lax.scan(update, (params, optimizer.init(params)), None, length=len(RATES))
  return np.stack(
    [c * np.asarray(found[name], np.float64) ** 2 / 2 for name, c in CURVATURES.items()]
  )


@pytest.mark.parametrize('factor', [1.0, 0.1])
def test_sgd_diverges_from_two_over_the_curvature_on(factor) -> None:
  """A term is smallest at the first update whose rate, with the factor of its group, is above
  2 / curvature: until then |1 - rate c| < 1.
  """
  config = base.get_config()
  config.optimizer.name = 'sgd'
  if factor != 1:
    config.optimizer.groups.steep = {'pattern': 'steep', 'learning_rate_factor': factor}
  for losses, curvature, scale in zip(
    losses_on_quadratic(config), CURVATURES.values(), (factor, 1.0), strict=True
  ):
    limit = 2 / (curvature * scale)
    # A rate of 1 / curvature would make the term 0 in one update; no rate is that by chance.
    assert np.nanargmin(losses) == np.flatnonzero(limit < RATES)[0]


def test_momentum_moves_the_limit() -> None:
  """Heavy ball diverges from 2 (1 + m) / c on (Polyak, 1964): with m = 0.9 at 1.9 times the rate.
  Near it the terms oscillate and hardly shrink, so that the lowest is seen to a tenth or so.
  """
  config = base.get_config()
  config.optimizer.name, config.optimizer.momentum = 'sgd', 0.9
  losses, _ = losses_on_quadratic(config)
  limit = 2 * (1 + 0.9) / CURVATURES['steep']
  highest_of_four = np.max(np.stack([losses[i : i - 4] for i in range(4)]), axis=0)  # it oscillates
  lowest = RATES[3:-1][np.nanargmin(highest_of_four)]
  assert 0.85 * limit < lowest < 1.15 * limit


def test_smoothing_by_hand() -> None:
  """s1 = 0.05 * 4 / 0.05; s2 = (0.95 * 0.2 + 0.05 * 2) / (1 - 0.95^2)."""
  mean = lr_range.RunningMean()
  np.testing.assert_allclose([mean.add(4.0), mean.add(2.0)], [4.0, 0.29 / 0.0975])


def measured_of(smoothed, end='diverged', scatter=0.0) -> Measured:
  rates = np.geomspace(1e-4, 1, len(smoothed)).tolist()
  noise = scatter * (-1.0) ** np.arange(len(smoothed))
  return Measured(rates, (np.asarray(smoothed) + noise).tolist(), list(smoothed), end)


def test_suggestion_by_hand() -> None:
  """100 points: flat, a fall of 1 a point from 40 on, of 3 from 50 to 60, then a rise at 80."""
  smoothed = np.full(100, 80.0)
  smoothed[41:51] -= np.arange(1, 11)
  smoothed[51:61] = 70 - 3 * np.arange(1, 11)
  smoothed[61:] = 40
  smoothed[70] = 39.5
  smoothed[80:] = 90
  measured = measured_of(smoothed)
  found = lr_range.suggest(measured)
  assert found.steepest == measured.rates[55]  # the middle of ten falls of 3
  assert found.minimum == measured.rates[70]
  assert found.tenth == measured.rates[70] / 10
  assert found.falls
  assert 'rates between 0.007 and 0.02 are worth a trial, none above 0.07' in described(
    measured, found, 'sgd'
  )
  noisy = lr_range.suggest(measured_of(smoothed, scatter=100.0))
  assert not noisy.falls
  assert 'suggestion  none' in described(measured, noisy, 'sgd')
  assert lr_range.suggest(measured_of(smoothed[:15])) is None


@pytest.mark.parametrize('linear', [False, True])
def test_rates_rise_by_equal_factors_or_steps(linear) -> None:
  rates = lr_range.rising_rates(0.001, 1.0, 31, linear)
  steps = np.diff(rates) if linear else np.diff(np.log(rates))
  assert (rates[0], rates[-1]) == pytest.approx((0.001, 1.0))
  np.testing.assert_allclose(steps, steps[0])


@pytest.mark.parametrize(
  ('values', 'words'),
  [
    *[((1, 0.1, 30), '--lowest=1'), ((0, 1, 30), 'above 0'), ((0.1, 1, 3), '--steps=3')],
    ((0.1, 1e39, 30), r'--highest=1e\+39: rates go from 1e-30 to 1e\+30'),
    ((1e-300, 1, 30), '--lowest=1e-300.*: rates go'),
    ((0.1, 1, 10**11), '--steps=100000000000: .*30 to 1,000,000'),
  ],
)
def test_impossible_rates_are_one_sentence(values, words) -> None:
  with pytest.raises(UserError, match=words):
    lr_range.rising_rates(*values)


@pytest.fixture
def whole_batches(tiny_config):
  """A linear network trained on all 180 images at once by SGD; another schedule is left out."""
  return changed(
    tiny_config,
    batch_size=180,
    **{**LINEAR, 'optimizer.name': 'sgd', 'schedule.name': 'cosine', 'plateau.patience': 1},
  )


def test_on_a_linear_model_the_loss_falls_up_to_the_rate_that_theory_allows(whole_batches) -> None:
  """Softmax regression has a gradient of Lipschitz constant L <= max eigenvalue(X'X / N) / 2
  (Bohning, 1992), and up to 2 / L no update makes the loss of all images larger.
  """
  split = data.load_splits(whole_batches).train
  mean, std = (np.asarray(whole_batches.data[name]) for name in ('mean', 'std'))
  rows = ((split.images / 255 - mean) / std).reshape(180, -1)
  rows = np.concatenate([rows, np.ones((180, 1))], axis=1)  # the bias
  largest = np.linalg.eigvalsh(rows.T @ rows / 180)[-1] / 2
  rates = lr_range.rising_rates(1e-4, 2 / largest, 40)
  below = lr_range.measure(whole_batches, rates, SILENT)
  assert below.end == ''
  assert (np.diff(below.losses) < 0).all()


@pytest.mark.thorough
def test_all_else_is_as_in_training(tiny_config, tmp_path) -> None:
  """The mean of the first epoch's losses at a rate that does not rise is that of launch.py: the
  same batches, augmentation and dropout.
  """
  config = changed(tiny_config, **{'optimizer.learning_rate': 1e-3, 'augment.flip': 'random'})
  measured = lr_range.measure(config, np.full(30, 1e-3), SILENT)
  loop.train(changed(config, epochs=2), tmp_path, SILENT)
  rows = rows_of(tmp_path)
  for epoch, row in enumerate(rows):
    losses = measured.losses[6 * epoch : 6 * epoch + 6]
    assert np.mean(losses) == pytest.approx(float(row['train_loss']), rel=1e-5)


@pytest.mark.thorough
def test_command_writes_a_table_and_a_picture_and_no_run(tiny_data, tmp_path, capsys) -> None:
  words = [
    *('lr_range', '--config=configs/lr.py', f'--out={tmp_path}/out', '--steps=40'),
    *('--config.data.name=tiny', f'--config.data.dir={tiny_data}', '--config.devices=1'),
    *('--config.batch_size=30', '--config.optimizer.name=sgd'),
  ]
  commands.main(words)
  said = capsys.readouterr().out
  assert 'It is no oracle' in said or 'suggestion  none' in said
  names = sorted(at.name for at in (tmp_path / 'out').iterdir())
  assert names == ['lr_range.csv', 'lr_range.png', 'lr_range.svg']
  with (tmp_path / 'out' / 'lr_range.csv').open(newline='') as file:
    rows = list(csv.DictReader(file))
  assert float(rows[0]['learning_rate']) == 1e-6
  assert float(rows[0]['loss']) == pytest.approx(float(rows[0]['smoothed_loss']))
  assert math.isclose(float(rows[1]['learning_rate']) / 1e-6, 10 ** (7 / 39), rel_tol=1e-9)
