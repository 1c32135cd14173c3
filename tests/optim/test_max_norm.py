"""The bound on kernels against Keras and against NumPy, alone and after each rule's update."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from cifar_jax import optim
from cifar_jax.optim import Plan, schedules
from cifar_jax.optim.max_norm import project
from tests.helpers.optimizers import with_schedule

GENERATOR = np.random.default_rng(5)


def numpy_project(kernel: np.ndarray, limit: float) -> np.ndarray:
  norm = np.sqrt((kernel**2).sum(axis=tuple(range(kernel.ndim - 1))))
  return kernel * (np.clip(norm, 0, limit) / (norm + 1e-7))


def test_by_hand() -> None:
  # Columns (3, 4) and (0.3, 0.4) have the norms 5 and 0.5.
  kernel = jnp.array([[3.0, 0.3], [4.0, 0.4]])
  np.testing.assert_allclose(project(kernel, 1.0), [[0.6, 0.3], [0.8, 0.4]], rtol=1e-6)
  np.testing.assert_array_equal(project(jnp.zeros((2, 2)), 1.0), 0)


@pytest.mark.thorough
@pytest.mark.parametrize('shape', [(6, 4), (3, 3, 2, 5)])
def test_is_that_of_keras(shape) -> None:
  keras = pytest.importorskip('keras')
  kernel = GENERATOR.standard_normal(shape).astype(np.float32)
  axis = tuple(range(len(shape) - 1))
  expected = keras.constraints.MaxNorm(1.5, axis=axis)(kernel)
  np.testing.assert_allclose(project(kernel, 1.5), np.asarray(expected), rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(
  rows=st.integers(1, 8),
  scale=st.floats(1e-2, 1e3),
  limit=st.floats(1e-2, 1e2),
  seed=st.integers(0, 2**31),
)
def test_ends_within_the_limit_and_keeps_directions(rows, scale, limit, seed) -> None:
  kernel = scale * np.random.default_rng(seed).standard_normal((rows, 3)).astype(np.float32)
  result = np.asarray(project(kernel, limit), np.float64)
  assert (np.linalg.norm(result, axis=0) <= limit * (1 + 1e-6)).all()
  inside = np.linalg.norm(kernel, axis=0) < limit * (1 - 1e-6)
  np.testing.assert_allclose(result[:, inside], kernel[:, inside], rtol=1e-6, atol=2e-7)
  cosines = (result * kernel).sum(0) / np.linalg.norm(result, axis=0)
  np.testing.assert_allclose(cosines, np.linalg.norm(kernel, axis=0), rtol=1e-5)


def test_after_each_update_of_keras_sgd_with_decay_and_momentum() -> None:
  """Article D1, 6 layers: SGD 0.01, momentum 0.9, decay, bound 3 on one dense kernel alone."""
  shapes = {'Dense_0': {'kernel': (7, 4), 'bias': (4,)}, 'Dense_1': {'kernel': (4, 3)}}
  draw = lambda scale: jax.tree.map(  # noqa: E731
    lambda shape: (scale * GENERATOR.standard_normal(shape)).astype(np.float32),
    shapes,
    is_leaf=lambda x: isinstance(x, tuple),
  )
  params, gradients = draw(1.5), [draw(30.0) for _ in range(10)]
  section = ConfigDict(
    {
      'name': 'keras_sgd',
      'learning_rate': 0.01,
      'momentum': 0.9,
      'groups': {'bounded': {'pattern': 'Dense_0/kernel', 'max_norm': 3.0}},
    }
  )
  schedule = schedules.create({'name': 'time_decay', 'decay': 0.1}, 0.01, Plan(1, 1))
  transformation = with_schedule(section, schedule)
  expected = jax.tree.map(lambda p: p.astype(np.float64), params)
  velocity = jax.tree.map(np.zeros_like, expected)
  state, bounded = transformation.init(params), 0
  for t, gradient in enumerate(gradients):
    updates, state = jax.jit(transformation.update)(gradient, state, params)
    params = optax.apply_updates(params, updates)
    rate = 0.01 / (1 + 0.1 * t)
    velocity = jax.tree.map(lambda v, g, rate=rate: 0.9 * v - rate * g, velocity, gradient)
    expected = jax.tree.map(np.add, expected, velocity)
    kernel = expected['Dense_0']['kernel']
    bounded += (np.linalg.norm(kernel, axis=0) > 3).sum()
    expected['Dense_0']['kernel'] = numpy_project(kernel, 3.0)
    jax.tree.map(
      lambda p, e: np.testing.assert_allclose(p, e, rtol=1e-5, atol=1e-6), params, expected
    )
  assert bounded > 5
  assert np.linalg.norm(expected['Dense_1']['kernel'], axis=0).max() > 3


@pytest.mark.parametrize('name', optim.OPTIMIZERS)
def test_of_every_rule_for_kernels_only(name) -> None:
  kernel = 3 * GENERATOR.standard_normal((5, 3)).astype(np.float32)
  params = {'kernel': kernel}
  if name != 'airbench_muon':
    params['bias'] = 9 * np.ones(3, np.float32)
  gradients = jax.tree.map(np.ones_like, params)

  def after_one_update(**options) -> dict[str, np.ndarray]:
    transformation = with_schedule({'name': name, **options}, optax.constant_schedule(0.1))
    updates, _ = transformation.update(gradients, transformation.init(params), params)
    return jax.tree.map(np.asarray, optax.apply_updates(params, updates))

  free, bounded = after_one_update(), after_one_update(max_norm=0.5)
  np.testing.assert_allclose(bounded['kernel'], numpy_project(free['kernel'], 0.5), rtol=1e-5)
  np.testing.assert_allclose(np.linalg.norm(bounded['kernel'], axis=0), 0.5, rtol=1e-5)
  if 'bias' in params:
    np.testing.assert_array_equal(bounded['bias'], free['bias'])
