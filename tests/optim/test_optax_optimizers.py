"""Optax's own rules, by our option names, against float64 NumPy transcriptions of their papers."""

import jax
import numpy as np
import optax
import pytest

from cifar_jax.optim import OPTIMIZERS, Plan, schedules
from cifar_jax.schema.options import options_of
from tests.helpers.optimizers import with_schedule

UPDATES, RATE, DECAY = 8, 0.01, 0.05
GENERATOR = np.random.default_rng(2)
PARAMS = {'kernel': (4, 3), 'bias': (3,)}
PARAMS = {k: GENERATOR.standard_normal(s).astype(np.float32) for k, s in PARAMS.items()}
GRADIENTS = [
  {k: GENERATOR.standard_normal(p.shape).astype(np.float32) for k, p in PARAMS.items()}
  for _ in range(UPDATES)
]


def adam(p, g, t, slots, b1, b2):
  m, v = b1 * slots[0] + (1 - b1) * g, b2 * slots[1] + (1 - b2) * g**2
  return m / (1 - b1**t), v / (1 - b2**t), (m, v)


def lamb(p, g, t, slots):
  m, v, slots = adam(p, g, t, slots, 0.8, 0.95)
  step = m / (np.sqrt(v) + 1e-6) + 0.1 * p
  return np.linalg.norm(p) / np.linalg.norm(step) * step, slots


def lion(p, g, t, slots):
  m = slots[0]
  return np.sign(0.8 * m + 0.2 * g) + 0.1 * p, (0.95 * m + 0.05 * g, m)


def nadamw(p, g, t, slots):
  _, v, slots = adam(p, g, t, slots, 0.8, 0.95)
  look_ahead = 0.8 * slots[0] / (1 - 0.8 ** (t + 1)) + 0.2 * g / (1 - 0.8**t)
  return look_ahead / (np.sqrt(v) + 1e-3) + 0.1 * p, slots


def nadam(p, g, t, slots):
  step, slots = nadamw(0 * p, g, t, slots)
  return step, slots


def adagrad(p, g, t, slots):
  a = (0.1 if t == 1 else slots[0]) + g**2
  return g / np.sqrt(a + 1e-3), (a, a)


def adamax(p, g, t, slots):
  m, u = 0.8 * slots[0] + 0.2 * g, np.maximum(0.95 * slots[1], np.abs(g) + 1e-3)
  return m / (1 - 0.8**t) / u, (m, u)


def adabelief(p, g, t, slots):
  m = 0.8 * slots[0] + 0.2 * g
  s = 0.95 * slots[1] + 0.05 * (g - m) ** 2
  return m / (1 - 0.8**t) / (np.sqrt(s / (1 - 0.95**t)) + 1e-3), (m, s)


def lars(p, g, t, slots):
  g = g + 0.1 * p
  v = 0.8 * slots[0] + 0.02 * np.linalg.norm(p) / np.linalg.norm(g) * g * lars.rate
  return v / lars.rate, (v, v)


BETAS = {'beta1': 0.8, 'beta2': 0.95}
RULES = {
  'lamb': (lamb, {**BETAS, 'weight_decay': 0.1}),
  'lion': (lion, {**BETAS, 'weight_decay': 0.1}),
  'nadamw': (nadamw, {**BETAS, 'epsilon': 1e-3, 'weight_decay': 0.1}),
  'nadam': (nadam, {**BETAS, 'epsilon': 1e-3}),
  'adagrad': (adagrad, {'epsilon': 1e-3}),
  'adamax': (adamax, {**BETAS, 'epsilon': 1e-3}),
  'adabelief': (adabelief, {**BETAS, 'epsilon': 1e-3}),
  'lars': (lars, {'momentum': 0.8, 'trust': 0.02, 'weight_decay': 0.1}),
}


def steps_of(name, options, gradients=GRADIENTS):
  schedule = schedules.create({'name': 'time_decay', 'decay': DECAY}, RATE, Plan(1, 1))
  transformation = with_schedule({'name': name, **options}, schedule)
  params, state = PARAMS, transformation.init(PARAMS)
  update = jax.jit(transformation.update)
  for gradient in gradients:
    step, state = update(gradient, state, params)
    yield params, step
    params = optax.apply_updates(params, step)


@pytest.mark.parametrize('name', RULES)
def test_steps_are_those_of_the_paper(name) -> None:
  rule, options = RULES[name]
  slots = {k: (np.zeros_like(p, np.float64),) * 2 for k, p in PARAMS.items()}
  for t, (params, found) in enumerate(steps_of(name, options)):
    rate = RATE / (1 + DECAY * t)
    lars.rate = rate
    for k, param in params.items():
      p, g = np.asarray(param, np.float64), GRADIENTS[t][k].astype(np.float64)
      step, slots[k] = rule(p, g, t + 1, slots[k])
      np.testing.assert_allclose(found[k], -rate * step, rtol=2e-4, atol=1e-8)


@pytest.mark.parametrize(
  'name',
  [name for name, choice in OPTIMIZERS.items() if 'weight_decay_mask' in options_of(choice)],
)
def test_weight_decay_is_of_kernels_alone_if_told_so(name) -> None:
  decayed, plain = (
    next(steps_of(name, {'weight_decay': decay, 'weight_decay_mask': 'kernels'}))[1]
    for decay in (0.3, 0.0)
  )
  np.testing.assert_allclose(decayed['bias'], plain['bias'], rtol=1e-6)
  assert np.abs(np.asarray(decayed['kernel'] - plain['kernel'])).max() > 1e-7


def test_muon_orthogonalises_kernels_of_convolutions_too() -> None:
  params = {'kernel': np.ones((3, 3, 2, 4), np.float32), 'bias': np.zeros(4, np.float32)}
  gradients = jax.tree.map(lambda p: GENERATOR.standard_normal(p.shape).astype(np.float32), params)
  transformation = with_schedule({'name': 'muon'}, optax.constant_schedule(1.0))
  step, _ = transformation.update(gradients, transformation.init(params), params)
  values = np.linalg.svd(np.asarray(step['kernel']).reshape(-1, 4), compute_uv=False)
  # Newton-Schulz moves singular values near 1; Optax then scales by the shape.
  assert values.max() / values.min() < 2
  # The first step of nadam, g / |g| (0.9 0.1 / (1 - 0.9^2) + 0.1 / 0.1).
  np.testing.assert_allclose(np.abs(step['bias']), 0.09 / 0.19 + 1, rtol=1e-3)
