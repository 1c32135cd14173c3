"""The rules of the Keras releases of 2017 against their transcriptions in NumPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cifar_jax import optim
from cifar_jax.schema.options import options_of
from tests.helpers.optimizer_rules import assert_same, config
from tests.helpers.optimizers import with_schedule


@pytest.mark.parametrize('momentum', [0.0, 0.9])
@pytest.mark.parametrize('nesterov', [False, True])
@pytest.mark.parametrize('decay', [0.0, 0.05])
def test_keras_sgd(momentum, nesterov, decay):
  def rule(p, g, lr, t, slots):
    v = momentum * slots[0] - lr * g
    return (momentum * v - lr * g if nesterov else v), (v, v)

  section = config('keras_sgd', momentum=momentum, nesterov=nesterov)
  assert_same(section, rule, 0.01, decay)


@pytest.mark.parametrize('rho', [0.9, 0.99])
@pytest.mark.parametrize('epsilon', [1e-8, 1e-3])
@pytest.mark.parametrize('decay', [0.0, 0.05])
def test_keras_rmsprop(rho, epsilon, decay):
  def rule(p, g, lr, t, slots):
    a = rho * slots[0] + (1 - rho) * g**2
    return -lr * g / (np.sqrt(a) + epsilon), (a, a)

  assert_same(config('keras_rmsprop', rho=rho, epsilon=epsilon), rule, 0.001, decay)


@pytest.mark.parametrize(('beta1', 'beta2'), [(0.9, 0.999), (0.0, 0.99), (0.5, 0.9999)])
@pytest.mark.parametrize('epsilon', [1e-8, 1e-3])
@pytest.mark.parametrize('decay', [0.0, 0.05])
def test_keras_adam(beta1, beta2, epsilon, decay):
  def rule(p, g, lr, t, slots):
    m = beta1 * slots[0] + (1 - beta1) * g
    v = beta2 * slots[1] + (1 - beta2) * g**2
    lr = lr * np.sqrt(1 - beta2 ** (t + 1)) / (1 - beta1 ** (t + 1))
    return -lr * m / (np.sqrt(v) + epsilon), (m, v)

  section = config('keras_adam', beta1=beta1, beta2=beta2, epsilon=epsilon)
  assert_same(section, rule, 0.001, decay)


def test_keras_adam_first_update_by_hand():
  # m = 0.1 g, sqrt(v) = sqrt(0.001) |g|: the step is lr |g| / (|g| + epsilon / sqrt(0.001)).
  transformation = with_schedule(config('keras_adam'), optax.constant_schedule(0.001))
  gradients = jnp.array([3.0, -1e-3, 1e-7], jnp.float32)
  step, _ = transformation.update(gradients, transformation.init(gradients))
  hat = 1e-8 / math.sqrt(0.001)
  expected = [-0.003 / (3 + hat), 1e-6 / (1e-3 + hat), -1e-10 / (1e-7 + hat)]
  np.testing.assert_allclose(step, expected, rtol=1e-6)


@pytest.mark.parametrize('base', [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999])
def test_bias_corrections(base):
  # XLA's own expm1 is off by up to 2.7e-7 of its result, the rounded exponent by 1e-7.
  exponents = np.unique(np.geomspace(1, 312_600, 3000).astype(np.int32))
  got = jax.jit(jax.vmap(lambda t: optim.one_minus_power(base, t)))(exponents)
  expected = -np.expm1(exponents * math.log(base)) if base else np.ones(len(exponents))
  np.testing.assert_allclose(np.asarray(got, np.float64), expected, rtol=4e-7, atol=0)


def defaults(name):
  return {key: option.default for key, option in options_of(optim.OPTIMIZERS[name]).items()}


def test_keras_defaults():
  assert defaults('keras_sgd') == {
    'learning_rate': 0.01,
    'momentum': 0.0,
    'nesterov': False,
    'gradient_clip_norm': None,
    'max_norm': None,
    'sam_rho': None,
  }
  assert defaults('keras_rmsprop') == {
    'learning_rate': 0.001,
    'rho': 0.9,
    'epsilon': 1e-8,
    'gradient_clip_norm': None,
    'max_norm': None,
    'sam_rho': None,
  }
  assert defaults('keras_adam') == {
    'learning_rate': 0.001,
    'beta1': 0.9,
    'beta2': 0.999,
    'epsilon': 1e-8,
    'gradient_clip_norm': None,
    'max_norm': None,
    'sam_rho': None,
  }
