"""Optimizers against float64 NumPy transcriptions of their rules."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cifar_jax import optim
from cifar_jax.utils.errors import UserError
from tests.helpers.optimizer_rules import (
  SHAPES,
  assert_same,
  config,
  draw,
  relative_error,
  run,
  time_decay,
)
from tests.helpers.optimizers import with_schedule

NAMES = ', '.join(sorted(optim.OPTIMIZERS))


# The rules of PyTorch and Optax.


@pytest.mark.parametrize('nesterov', [False, True])
@pytest.mark.parametrize('weight_decay', [0.0, 0.1])
def test_sgd_is_that_of_pytorch(nesterov, weight_decay):
  def rule(p, g, lr, t, slots):
    g = g + weight_decay * p
    buffer = 0.85 * slots[0] + g if t else g
    return -lr * (g + 0.85 * buffer if nesterov else buffer), (buffer, buffer)

  section = config('sgd', momentum=0.85, nesterov=nesterov, weight_decay=weight_decay)
  # Weight decay feeds float32 parameters, rounded each time, back into the steps.
  assert_same(section, rule, 0.01, 0.05, tolerance=3e-6 if weight_decay else 1e-6)


def test_rmsprop_has_epsilon_inside_the_root():
  def rule(p, g, lr, t, slots):
    a = 0.8 * slots[0] + 0.2 * g**2
    return -lr * g / np.sqrt(a + 1e-3), (a, a)

  assert_same(config('rmsprop', rho=0.8, epsilon=1e-3), rule, 0.001, 0.05)


@pytest.mark.parametrize(('name', 'weight_decay'), [('adam', 0.0), ('adamw', 0.1), ('adamw', None)])
def test_adam_and_adamw(name, weight_decay):
  def rule(p, g, lr, t, slots):
    m = 0.8 * slots[0] + 0.2 * g
    v = 0.95 * slots[1] + 0.05 * g**2
    m_hat, v_hat = m / (1 - 0.8 ** (t + 1)), v / (1 - 0.95 ** (t + 1))
    decay = 1e-4 if weight_decay is None else weight_decay
    return -lr * (m_hat / (np.sqrt(v_hat) + 1e-3) + decay * p * (name == 'adamw')), (m, v)

  options = {'weight_decay': weight_decay} if name == 'adamw' and weight_decay else {}
  section = config(name, beta1=0.8, beta2=0.95, epsilon=1e-3, **options)
  # Optax computes 1 - beta**T by a power and a subtraction in float32.
  assert_same(section, rule, 0.001, 0.05, tolerance=3e-6)


# Between the conventions.


def trajectory_of(name, schedule):
  params, gradients = draw()
  transformation = with_schedule(config(name, momentum=0.9, nesterov=True), schedule)
  return run(transformation, params, gradients)[1]


def test_sgd_and_keras_sgd_agree_at_a_constant_rate():
  schedule = optax.constant_schedule(0.01)
  assert relative_error(trajectory_of('sgd', schedule), trajectory_of('keras_sgd', schedule)) < 1e-6


def test_sgd_and_keras_sgd_differ_when_the_rate_changes():
  # Two updates with gradient 1, momentum 0.5, rates 1 and 0.1. PyTorch: 1, then 0.1 * 1.5 = 0.15.
  # Keras: 1, then 0.5 * 1 + 0.1 = 0.6.
  schedule = optax.piecewise_constant_schedule(1.0, {1: 0.1})
  gradients = [{'w': np.ones(1, np.float32)}] * 2
  for name, second in (('sgd', -1.15), ('keras_sgd', -1.6)):
    transformation = with_schedule(config(name, momentum=0.5), schedule)
    _, trajectory = run(transformation, {'w': np.zeros(1, np.float32)}, gradients)
    np.testing.assert_allclose([p['w'][0] for p in trajectory], [-1.0, second], rtol=1e-6)


# Options of every rule.


@pytest.mark.parametrize(('clip_norm', 'scale'), [(1.0, 0.2), (5.1, 1.0)])
def test_clipping_is_by_the_norm_of_all_gradients_together(clip_norm, scale):
  params = {'a': jnp.zeros(1), 'b': jnp.zeros(1)}
  gradients = {'a': jnp.array([3.0]), 'b': jnp.array([-4.0])}
  transformation = with_schedule(
    config('sgd', gradient_clip_norm=clip_norm), optax.constant_schedule(1.0)
  )
  step, _ = transformation.update(gradients, transformation.init(params), params)
  np.testing.assert_allclose([step['a'][0], step['b'][0]], [-3 * scale, 4 * scale], rtol=1e-6)


def test_clipping_comes_before_weight_decay():
  params = {'a': jnp.array([10.0])}
  section = config('sgd', gradient_clip_norm=1.0, weight_decay=0.5)
  transformation = with_schedule(section, optax.constant_schedule(1.0))
  step, _ = transformation.update({'a': jnp.array([4.0])}, transformation.init(params), params)
  np.testing.assert_allclose(step['a'], [-6.0], rtol=1e-6)


@pytest.mark.parametrize('name', ['sgd', 'adamw'])
@pytest.mark.parametrize(
  ('mask', 'decayed'), [('kernels', {'kernel', 'dense'}), ('all', set(SHAPES)), (None, set(SHAPES))]
)
def test_weight_decay_mask(name, mask, decayed):
  params, _ = draw()
  options = {} if mask is None else {'weight_decay_mask': mask}
  section = config(name, weight_decay=0.5, **options)
  transformation = with_schedule(section, optax.constant_schedule(0.1))
  zeros = jax.tree.map(np.zeros_like, params)
  step, _ = transformation.update(zeros, transformation.init(params), params)
  for k, p in params.items():
    np.testing.assert_allclose(step[k], -0.05 * p if k in decayed else 0 * p, rtol=1e-6)


@pytest.mark.parametrize('name', optim.OPTIMIZERS)
def test_the_state_holds_arrays_only_and_keeps_its_structure(name):
  params, gradients = draw()
  if name == 'airbench_muon':  # for kernels only
    del params['bias'], gradients[0]['bias']
  options = {'momentum': 0.9} if name.endswith('sgd') else {}
  if name in ('sgd', 'adamw'):
    options |= {'weight_decay': 0.1, 'weight_decay_mask': 'kernels'}
  transformation = with_schedule(
    config(name, gradient_clip_norm=1.0, **options), time_decay(0.1, 1.0)
  )
  state = transformation.init(params)
  _, after = transformation.update(gradients[0], state, params)
  assert jax.tree.leaves(state)
  assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves((state, after)))
  assert jax.tree.structure(state) == jax.tree.structure(after)
  for before, now in zip(jax.tree.leaves(state), jax.tree.leaves(after), strict=True):
    assert (before.shape, before.dtype) == (now.shape, now.dtype)


def test_learning_rate_is_the_given_one_or_the_default():
  assert optim.learning_rate(config('keras_sgd', learning_rate=0.3)) == 0.3
  assert optim.learning_rate(config('keras_sgd')) == 0.01
  assert optim.learning_rate(config('adam')) == 0.001


# Mistakes.


@pytest.mark.parametrize(
  ('name', 'options', 'message'),
  [
    (
      'adam',
      {'momentum': 0.9},
      "optimizer 'adam' takes no --config.optimizer.momentum; it takes learning_rate, beta1, "
      'beta2, epsilon, gradient_clip_norm, max_norm, sam_rho; '
      '--config.optimizer.momentum=None unsets it',
    ),
    (
      'keras_sgd',
      {'weight_decay': 0.0},
      "optimizer 'keras_sgd' takes no --config.optimizer.weight_decay; it takes learning_rate, "
      'momentum, nesterov, gradient_clip_norm, max_norm, sam_rho; '
      '--config.optimizer.weight_decay=None unsets it',
    ),
    (
      'keras_adma',
      {},
      "--config.optimizer.name 'keras_adma' is unknown; did you mean 'keras_adam'? it is one of "
      f'{NAMES}',
    ),
    (
      'SGD',
      {},
      f"--config.optimizer.name 'SGD' is unknown; did you mean 'sgd'? it is one of {NAMES}",
    ),
    (
      'zzz',
      {},
      f"--config.optimizer.name 'zzz' is unknown; it is one of {NAMES}",
    ),
    (
      'sgd',
      {'learning_rate': 0.0},
      '--config.optimizer.learning_rate must be a number above 0, not 0.0',
    ),
    (
      'sgd',
      {'learning_rate': math.inf},
      '--config.optimizer.learning_rate must be a number above 0, not inf',
    ),
    (
      'sgd',
      {'momentum': 1.0},
      '--config.optimizer.momentum must be a number in [0, 1), not 1.0',
    ),
    (
      'rmsprop',
      {'rho': -0.1},
      '--config.optimizer.rho must be a number in [0, 1), not -0.1',
    ),
    (
      'adam',
      {'beta1': 1.5},
      '--config.optimizer.beta1 must be a number in [0, 1), not 1.5',
    ),
    (
      'keras_adam',
      {'beta2': 1.0},
      '--config.optimizer.beta2 must be a number in [0, 1), not 1.0',
    ),
    (
      'keras_adam',
      {'epsilon': 0.0},
      '--config.optimizer.epsilon must be a number above 0, not 0.0',
    ),
    (
      'adamw',
      {'weight_decay': -1e-4},
      '--config.optimizer.weight_decay must be a number not below 0, not -0.0001',
    ),
    (
      'adamw',
      {'weight_decay_mask': 'kernel'},
      "--config.optimizer.weight_decay_mask must be 'all' or 'kernels', not 'kernel'",
    ),
    (
      'sgd',
      {'gradient_clip_norm': 0.0},
      '--config.optimizer.gradient_clip_norm must be a number above 0, not 0.0',
    ),
  ],
)
def test_mistakes(name, options, message):
  schedule = optax.constant_schedule(0.1)
  for check in (optim.validate, lambda section: with_schedule(section, schedule)):
    with pytest.raises(UserError) as error:
      check(config(name, **options))
    assert str(error.value) == message


def test_what_a_plain_dictionary_may_hold_and_a_typed_config_may_not():
  with pytest.raises(UserError, match='nesterov must be True or False, not 1'):
    optim.validate({'name': 'sgd', 'nesterov': 1})
  with pytest.raises(UserError, match="learning_rate must be a number above 0, not 'fast'"):
    optim.validate({'name': 'sgd', 'learning_rate': 'fast'})
