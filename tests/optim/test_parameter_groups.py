"""Groups of parameters against float64 NumPy: each array by its own rate, decay and end."""

import jax
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from cifar_jax import optim
from cifar_jax.optim import Plan, schedules
from cifar_jax.schema.options import options_of
from cifar_jax.utils.errors import UserError
from tests.helpers.optimizers import with_schedule

GENERATOR = np.random.default_rng(3)
SHAPES = {
  'first': {'kernel': (2, 2, 3, 4), 'bias': (4,)},
  'body': {'Conv_0': {'kernel': (3, 3, 4, 4)}, 'BatchNorm_0': {'bias': (4,)}},
  'logits': {'kernel': (4, 3)},
}
PLAN = Plan(total_steps=12, steps_per_epoch=4)
SECTION = {
  'name': 'sgd',
  'learning_rate': 0.1,
  'momentum': 0.85,
  'nesterov': True,
  'weight_decay': 0.01,
  'gradient_clip_norm': None,
}
GROUPS = {
  'frozen': {'pattern': 'first/kernel', 'frozen_from_epoch': 0.0},
  'early': {'pattern': 'first/bias', 'frozen_from_epoch': 1.5},
  'biases': {
    'pattern': '.*/BatchNorm_.*/bias',
    'learning_rate_factor': 64.0,
    'weight_decay_factor': 1 / 64,
  },
  'short': {'pattern': 'logits/.*', 'schedule_epochs': 2.0, 'momentum': 0.5},
}


def draw(scale: float = 1.0):
  return jax.tree.map(
    lambda shape: (scale * GENERATOR.standard_normal(shape)).astype(np.float32),
    SHAPES,
    is_leaf=lambda x: isinstance(x, tuple),
  )


def schedule_over(plan: Plan) -> optax.Schedule:
  """A line from 0.1 to 0."""
  section = {'name': 'triangular', 'peak_epoch': 0.0, 'end_factor': 0.0}
  return schedules.create(section, 0.1, plan)


def create(groups, **changes) -> optax.GradientTransformation:
  section = ConfigDict({**SECTION, 'groups': groups, **changes})
  return optim.create(section, schedule_over, PLAN)


def trajectory(transformation, params, gradients):
  state = transformation.init(params)
  update = jax.jit(transformation.update)
  for gradient in gradients:
    step, state = update(gradient, state, params)
    params = optax.apply_updates(params, step)
    yield params


def sgd(param, gradients, rate, momentum, decay, last):
  """Nesterov with coupled decay; the parameter after each update."""
  param, velocity = param.astype(np.float64), np.zeros(param.shape)
  for t, gradient in enumerate(gradients):
    gradient = gradient + decay * param
    velocity = momentum * velocity + gradient
    if t < last:
      param = param - rate(t) * (gradient + momentum * velocity)
    yield param


def test_each_group_follows_its_own_rule() -> None:
  params, gradients = draw(), [draw() for _ in range(12)]

  def line(t, steps=12):
    return 0.1 * max(0, 1 - t / steps)

  arguments = {
    ('first', 'kernel'): (line, 0.85, 0.01, 0),
    ('first', 'bias'): (line, 0.85, 0.01, 6),  # 1.5 epochs of 4
    ('body', 'Conv_0', 'kernel'): (line, 0.85, 0.01, 12),
    ('body', 'BatchNorm_0', 'bias'): (lambda t: 64 * line(t), 0.85, 0.01 / 64, 12),
    ('logits', 'kernel'): (lambda t: line(t, 8), 0.5, 0.01, 12),
  }
  found = list(trajectory(create(GROUPS), params, gradients))

  def at(tree, path):
    for key in path:
      tree = tree[key]
    return tree

  for path, (rate, momentum, decay, last) in arguments.items():
    drawn = [at(gradient, path) for gradient in gradients]
    expected = sgd(at(params, path), drawn, rate, momentum, decay, last)
    for tree, value in zip(found, expected, strict=True):
      np.testing.assert_allclose(at(tree, path), value, rtol=2e-5, atol=2e-5)


def test_groups_that_change_nothing_change_nothing() -> None:
  params, gradients = draw(), [draw() for _ in range(3)]
  plain = list(trajectory(create({}), params, gradients))
  grouped = list(trajectory(create({'all': {'pattern': '.*'}}), params, gradients))
  jax.tree.map(np.testing.assert_array_equal, plain, grouped)


RULES = sorted(optim.OPTIMIZERS.keys() - {'airbench_muon'})


@pytest.mark.parametrize(
  'rule',
  [
    pytest.param(rule, marks=() if rule in ('sgd', 'adam', 'lars') else pytest.mark.thorough)
    for rule in RULES
  ],
)
def test_rate_factor_scales_the_step_of_every_rule(rule) -> None:
  """With a rate that does not change, each step is as many times as long."""
  params, gradients = draw(), [draw() for _ in range(3)]
  groups = {'logits': {'pattern': 'logits/.*', 'learning_rate_factor': 3.0}}
  section = {'name': rule, 'learning_rate': 0.01, 'weight_decay': None}
  if 'weight_decay' in options_of(optim.OPTIMIZERS[rule]):
    section['weight_decay'] = 0.0

  def steps(groups):
    transformation = with_schedule({**section, 'groups': groups}, optax.constant_schedule(0.01))
    state = transformation.init(params)
    for gradient in gradients:
      step, state = transformation.update(gradient, state, params)
      yield step

  for plain, grouped in zip(steps({}), steps(groups), strict=True):
    np.testing.assert_allclose(
      grouped['logits']['kernel'], 3 * plain['logits']['kernel'], rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(grouped['first']['bias'], plain['first']['bias'], rtol=1e-5)


def test_clipping_norm_is_that_of_all_trained_gradients() -> None:
  params, gradient = draw(), draw()
  section = {'momentum': 0.0, 'nesterov': False, 'weight_decay': 0.0, 'gradient_clip_norm': 0.5}
  groups = {'frozen': GROUPS['frozen'], 'rest': {'pattern': 'body/.*'}}
  after = next(trajectory(create(groups, **section), params, [gradient]))
  trained = [gradient['first']['bias'], *jax.tree.leaves((gradient['body'], gradient['logits']))]
  norm = np.sqrt(sum(np.sum(np.square(g, dtype=np.float64)) for g in trained))
  assert norm > 0.5
  step = after['logits']['kernel'] - params['logits']['kernel']
  np.testing.assert_allclose(step, -0.1 * 0.5 / norm * gradient['logits']['kernel'], rtol=1e-4)
  np.testing.assert_array_equal(after['first']['kernel'], params['first']['kernel'])


def test_frozen_gradients_are_not_used() -> None:
  """Not even multiplied by zero, so the compiler need not compute them."""
  transformation = create({'frozen': GROUPS['frozen']}, gradient_clip_norm=1.0)
  params, gradients = draw(), draw()
  gradients['first']['kernel'] = np.full_like(gradients['first']['kernel'], np.nan)
  updates, _ = transformation.update(gradients, transformation.init(params), params)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(updates))


@pytest.mark.parametrize(
  ('groups', 'message'),
  [
    ({'a': {'pattern': 'frist/.*'}}, r'groups\.a\.pattern=frist/\.\* matches no parameter.*body/'),
    ({'a': {'pattern': '.*/bias'}, 'b': {'pattern': 'first/.*'}}, 'a and b both match first/bias'),
    ({'a': {'pattern': '('}}, r'groups\.a\.pattern must be a regular expression'),
    ({'a': {}}, r'groups\.a\.pattern must be a regular expression'),
    ({'a': {'pattern': '.*', 'learning_rate': 1.0}}, 'takes no learning_rate; use .*rate_factor'),
    ({'a': {'pattern': '.*', 'learning_rate_factor': -1.0}}, 'must be a number not below 0'),
    ({'a': {'pattern': '.*', 'frozen_form': 1.0}}, r"'sgd' takes no .*groups\.a\.frozen_form"),
    ({'a': {'pattern': '.*', 'name': 'adm'}}, r"groups\.a\.name 'adm' is unknown.*'adam'"),
    (
      {'a': {'pattern': '.*', 'name': 'adam', 'weight_decay_factor': 2.0}},
      'weight_decay_factor has nothing to act on',
    ),
    ({'a': {'pattern': '.*', 'name': 'airbench_muon'}}, 'updates kernels, not biases'),
  ],
)
def test_mistakes_name_the_flag(groups, message) -> None:
  with pytest.raises(UserError, match=message):
    create(groups).init(draw())
