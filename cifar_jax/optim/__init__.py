"""How parameters move: optimizers, schedules and averages by name, and groups of parameters."""

from typing import Any

from cifar_jax.optim import keras_optimizers as keras_optimizers
from cifar_jax.optim import muon as muon
from cifar_jax.optim import optax_optimizers as optax_optimizers
from cifar_jax.optim.averaging import AVERAGES, Average, make_average
from cifar_jax.optim.keras_optimizers import one_minus_power
from cifar_jax.optim.optimizers import OPTIMIZERS, create, in_use, learning_rate, validate
from cifar_jax.optim.plan import Plan
from cifar_jax.optim.schedules import SCHEDULES
from cifar_jax.schema.registry import Registry

REGISTRIES: dict[str, Registry[Any]] = {
  registry.section: registry for registry in (OPTIMIZERS, SCHEDULES, AVERAGES)
}

__all__ = [
  'AVERAGES',
  'OPTIMIZERS',
  'REGISTRIES',
  'SCHEDULES',
  'Average',
  'Plan',
  'create',
  'in_use',
  'learning_rate',
  'make_average',
  'one_minus_power',
  'validate',
]
