"""How parameters move: rules and schedules by name, groups of parameters, averaging."""

from cifar_jax.optim.averaging import Average, make_average
from cifar_jax.optim.keras_optimizers import one_minus_power
from cifar_jax.optim.optimizers import RULES, create, learning_rate, options_in_use, validate
from cifar_jax.optim.plan import Plan

__all__ = [
  'RULES',
  'Average',
  'Plan',
  'create',
  'learning_rate',
  'make_average',
  'one_minus_power',
  'options_in_use',
  'validate',
]
