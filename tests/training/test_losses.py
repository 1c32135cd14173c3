"""Cross-entropy against SciPy's log-softmax in float64 and against values worked out by hand."""

import math

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from scipy.special import log_softmax

from cifar_jax.training import losses


def reference(logits, labels, label_smoothing):
  classes = logits.shape[1]
  targets = np.eye(classes)[labels] * (1 - label_smoothing) + label_smoothing / classes
  return -(targets * log_softmax(logits.astype(np.float64), axis=1)).sum(axis=1)


@pytest.mark.parametrize('label_smoothing', [0.0, 0.1, 0.2, 0.9])
@pytest.mark.parametrize('scale', [0.01, 1.0, 100.0, 1e6])
def test_against_scipy_in_float64(scale, label_smoothing):
  random = np.random.default_rng(0)
  logits = (scale * random.standard_normal((64, 10))).astype(np.float32)
  labels = random.integers(0, 10, 64).astype(np.int32)
  got = jax.jit(losses.cross_entropy, static_argnums=2)(logits, labels, label_smoothing)
  assert got.dtype == jnp.float32
  assert got.shape == (64,)
  np.testing.assert_allclose(got, reference(logits, labels, label_smoothing), rtol=2e-6, atol=1e-6)


def test_shapes_at_the_border_are_checked():
  """Without the check in the tests, one label would be broadcast over all rows."""
  with pytest.raises(jaxtyping.TypeCheckError, match="parameter 'labels'"):
    losses.cross_entropy(jnp.zeros((3, 2)), jnp.zeros(1, jnp.int32))


def test_uniform_logits_cost_log_of_the_number_of_classes():
  got = losses.cross_entropy(jnp.full((3, 10), 7.0), jnp.array([0, 4, 9]))
  np.testing.assert_allclose(got, math.log(10), rtol=1e-6)


@pytest.mark.parametrize('largest', [1e4, 3e38])
def test_extreme_logits_stay_finite(largest):
  logits = jnp.array([[largest, 0.0], [0.0, largest], [-largest, -largest]], jnp.float32)
  labels = jnp.array([0, 0, 1])
  got = losses.cross_entropy(logits, labels)
  np.testing.assert_allclose(got, [0.0, largest, math.log(2)], rtol=1e-6)
  gradient = jax.grad(lambda x: losses.cross_entropy(x, labels).sum())(logits)
  np.testing.assert_allclose(gradient, [[0, 0], [-1, 1], [0.5, -0.5]], atol=1e-6)


def test_a_class_ruled_out_by_minus_infinity_costs_nothing():
  got = losses.cross_entropy(jnp.array([[0.0, 0.0, -jnp.inf]]), jnp.array([1]))
  np.testing.assert_allclose(got, [math.log(2)], rtol=1e-6)


def test_label_smoothing_by_hand():
  # Probabilities 0.7, 0.2, 0.1 and s = 0.3: the target of class 0 is 0.8, 0.1, 0.1.
  logits = jnp.log(jnp.array([[0.7, 0.2, 0.1]]))
  got = losses.cross_entropy(logits, jnp.array([0]), label_smoothing=0.3)
  expected = -(0.8 * math.log(0.7) + 0.1 * math.log(0.2) + 0.1 * math.log(0.1))
  np.testing.assert_allclose(got, [expected], rtol=1e-6)


def test_gradient_is_probabilities_minus_targets():
  random = np.random.default_rng(1)
  logits = random.standard_normal((5, 4)).astype(np.float32)
  labels = np.array([3, 0, 1, 1, 2], np.int32)
  gradient = jax.grad(lambda x: losses.cross_entropy(x, labels, 0.2).sum())(logits)
  targets = np.eye(4)[labels] * 0.8 + 0.05
  np.testing.assert_allclose(
    gradient, np.exp(log_softmax(logits.astype(float), 1)) - targets, atol=1e-6
  )


def test_bfloat16_logits_are_computed_in_float32():
  logits = jnp.array([[1.0, 2.0, 3.0]], jnp.bfloat16)  # exact in bfloat16
  got = losses.cross_entropy(logits, jnp.array([0]))
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(
    got, reference(np.array([[1.0, 2.0, 3.0]]), np.array([0]), 0.0), rtol=1e-6
  )
