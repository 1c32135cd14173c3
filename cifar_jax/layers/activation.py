"""Activation functions by name, and the layer that applies one."""

import re
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from cifar_jax.ops.activations import gelu, relu, relu6
from cifar_jax.utils.array_types import Elements
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import did_you_mean

ActivationFunction = Callable[[jax.Array], jax.Array]

_PLAIN: dict[str, ActivationFunction] = {
  'gelu': gelu,
  'hard_sigmoid': jax.nn.hard_sigmoid,
  'hard_silu': jax.nn.hard_silu,
  'linear': lambda x: x,
  'mish': jax.nn.mish,
  'relu': relu,
  'relu6': relu6,
  'selu': jax.nn.selu,
  'sigmoid': jax.nn.sigmoid,
  'silu': jax.nn.silu,
  'softplus': jax.nn.softplus,
  'softsign': jax.nn.soft_sign,
  'tanh': jnp.tanh,
}

# These take one number, written in parentheses: the slope of leaky_relu for x < 0, the alpha of elu
# and celu.
_WITH_PARAMETER: dict[str, tuple[Callable[[jax.Array, float], jax.Array], float]] = {
  'celu': (jax.nn.celu, 1.0),
  'elu': (jax.nn.elu, 1.0),
  'leaky_relu': (jax.nn.leaky_relu, 0.01),
}

_SPEC = re.compile(r'([a-z][a-z0-9_]*)(?:\(\s*([0-9]+(?:\.[0-9]*)?(?:e-?[0-9]+)?)\s*\))?', re.ASCII)


def activation_names() -> tuple[str, ...]:
  """Returns the names that `activation_function` knows, sorted."""
  return tuple(sorted(_PLAIN.keys() | _WITH_PARAMETER.keys()))


def activation_function(spec: str) -> ActivationFunction:
  """Returns the function of a word such as 'relu' or 'leaky_relu(0.003)'; 'gelu' is the exact one.

  Raises:
    UserError: No activation has that name, or it does not take the number.
  """
  match = _SPEC.fullmatch(spec) if isinstance(spec, str) else None
  name, number = match.groups() if match else (spec, None)
  if name in _WITH_PARAMETER:
    function, default = _WITH_PARAMETER[name]
    parameter = default if number is None else float(number)
    return lambda x: function(x, parameter)
  if name not in _PLAIN:
    raise UserError(f'no activation is called {name!r}{did_you_mean(name, activation_names())}')
  if number is not None:
    raise UserError(f'the activation {name!r} takes no number, but {spec!r} gives it one')
  return _PLAIN[name]


class Activation(nn.Module):
  """A layer of its own for an activation, as between BatchNorm and the next convolution.

  Attributes:
    activation: As for `activation_function`.
  """

  activation: str

  @nn.compact
  def __call__(self, inputs: Elements) -> Elements:
    return activation_function(self.activation)(inputs)
