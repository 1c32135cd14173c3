"""Compares an optimizer with a float64 NumPy transcription of its rule.

The gradients are drawn beforehand and do not depend on the parameters, so that only the rule itself
is rounded. Relative error of an array = its largest absolute error / its largest absolute value. It
is taken, array by array and after each update, of the parameters and of the step itself: a float32
parameter of size 1 cannot show a small step exactly. One of the arrays has gradients near 1e-8,
where the place of epsilon decides.
"""

import jax
import numpy as np
import optax
from ml_collections import ConfigDict

from cifar_jax import optim
from cifar_jax.config import get_config
from cifar_jax.optim import schedules
from tests.helpers.optimizers import with_schedule

UPDATES = 20
SHAPES = {'kernel': (3, 3, 2, 4), 'bias': (4,), 'dense': (5, 3)}
GRADIENT_SCALES = {'kernel': 1.0, 'bias': 1e-8, 'dense': 30.0}


def config(name: str, **options) -> ConfigDict:
  """A section as configs/base.py gives it: every option there, None where not set."""
  section = get_config().optimizer
  with section.ignore_type():
    section.learning_rate = None
  section.update({'name': name, **options})
  return section.lock()


def draw():
  """Parameters and a list of gradients, float32, the same for every test."""
  random = np.random.default_rng(7)
  params = {k: random.standard_normal(s).astype(np.float32) for k, s in SHAPES.items()}
  gradients = [
    {
      k: (GRADIENT_SCALES[k] * random.standard_normal(s)).astype(np.float32)
      for k, s in SHAPES.items()
    }
    for _ in range(UPDATES)
  ]
  return params, gradients


def time_decay(learning_rate, decay):
  section = {'name': 'time_decay', 'decay': decay}
  return schedules.create(section, learning_rate, optim.Plan(1, 1))


def run(transformation, params, gradients):
  """The steps and the parameters after each update, computed in float32 by Optax."""
  state = transformation.init(params)
  update = jax.jit(transformation.update)
  steps, trajectory = [], []
  for gradient in gradients:
    step, state = update(gradient, state, params)
    params = optax.apply_updates(params, step)
    steps.append(step)
    trajectory.append(params)
  return steps, trajectory


def run_reference(rule, params, gradients, rate):
  """The same in float64: `rule(p, g, lr, t, slots) -> step`, `slots` starting as zeros like p."""
  params = {k: p.astype(np.float64) for k, p in params.items()}
  slots = {k: (np.zeros_like(p), np.zeros_like(p)) for k, p in params.items()}
  steps, trajectory = [], []
  for t, gradient in enumerate(gradients):
    step = {}
    for k, p in params.items():
      step[k], slots[k] = rule(p, gradient[k].astype(np.float64), rate(t), t, slots[k])
    params = {k: p + step[k] for k, p in params.items()}
    steps.append(step)
    trajectory.append(params)
  return steps, trajectory


def relative_error(got, expected):
  return max(
    float(np.max(np.abs(np.asarray(g[k], np.float64) - e[k])) / np.max(np.abs(e[k])))
    for g, e in zip(got, expected, strict=True)
    for k in e
  )


def assert_same(section, rule, learning_rate, decay, tolerance=1e-6):
  params, gradients = draw()
  transformation = with_schedule(section, time_decay(learning_rate, decay))
  steps, trajectory = run(transformation, params, gradients)
  expected_steps, expected = run_reference(
    rule, params, gradients, lambda t: learning_rate / (1 + decay * t)
  )
  assert relative_error(steps, expected_steps) < tolerance
  assert relative_error(trajectory, expected) < tolerance
