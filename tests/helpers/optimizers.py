"""Optimizers for tests of single updates, where the length of a run plays no part."""

from collections.abc import Mapping
from typing import Any

import optax

from cifar_jax import optim


def with_schedule(
  section: Mapping[str, Any], schedule: optax.Schedule
) -> optax.GradientTransformation:
  """The optimizer of a config section with one schedule for all parameters."""
  return optim.create(section, lambda plan: schedule, optim.Plan(1, 1))
