import math
import re

import jax.numpy as jnp
import numpy as np
import pytest

from cifar_jax import layers
from cifar_jax.utils.errors import UserError

X = np.array([-3.0, -0.5, 0.0, 0.25, 2.0])


def sigmoid(x: np.ndarray) -> np.ndarray:
  return 1 / (1 + np.exp(-x))


def gaussian(x: np.ndarray) -> np.ndarray:
  return np.array([0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x])


@pytest.mark.parametrize(
  ('spec', 'expected'),
  [
    ('relu', np.maximum(X, 0)),
    ('relu6', np.clip(X, 0, 6)),
    ('sigmoid', sigmoid(X)),
    ('tanh', np.tanh(X)),
    ('linear', X),
    ('leaky_relu', np.where(X > 0, X, 0.01 * X)),
    ('leaky_relu(0.003)', np.where(X > 0, X, 0.003 * X)),
    ('elu', np.where(X > 0, X, np.exp(X) - 1)),
    ('elu(2)', np.where(X > 0, X, 2 * (np.exp(X) - 1))),
    ('celu(2)', np.where(X > 0, X, 2 * (np.exp(X / 2) - 1))),
    ('selu', 1.0507009874 * np.where(X > 0, X, 1.6732632423 * (np.exp(X) - 1))),
    ('gelu', X * gaussian(X)),
    ('silu', X * sigmoid(X)),
    ('softplus', np.log1p(np.exp(X))),
    ('softsign', X / (1 + np.abs(X))),
    ('mish', X * np.tanh(np.log1p(np.exp(X)))),
    ('hard_sigmoid', np.clip(X + 3, 0, 6) / 6),
    ('hard_silu', X * np.clip(X + 3, 0, 6) / 6),
  ],
)
def test_functions(spec: str, expected: np.ndarray):
  result = layers.Activation(spec).apply({}, jnp.asarray(X, jnp.float32))
  np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_every_name_is_a_function():
  for name in layers.activation_names():
    assert layers.activation_function(name)(jnp.ones(3)).shape == (3,)


@pytest.mark.parametrize(
  ('spec', 'message'),
  [('rellu', "did you mean 'relu'"), ('relu(2)', 'takes no number'), (None, 'no activation')],
)
def test_mistakes_are_named(spec: str, message: str):
  with pytest.raises(UserError, match=re.escape(message)):
    layers.activation_function(spec)
