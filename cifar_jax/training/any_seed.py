"""The functions of `steps` with the seed as their first argument, uint32 [].

A program that is compiled once then serves every seed: with the seed inside, each would be compiled
by itself. The pure functions are made of a recipe with the seed while the program is traced.
"""

from collections.abc import Callable
from typing import Any

import jax

from cifar_jax.layers.batch_axis import DataParallel
from cifar_jax.training import steps
from cifar_jax.training.recipe import Recipe

RecipeOf = Callable[[jax.Array], Recipe]  # the recipe of a run with this seed
Update = Callable[..., tuple[steps.TrainState, steps.StepMetrics]]


def make_init(recipe_of: RecipeOf) -> Callable[..., steps.TrainState]:
  """Returns `init(seed, images, start) -> state`, see `steps.init_state`."""

  def init(seed: jax.Array, images: Any = None, start: Any = None) -> steps.TrainState:
    return steps.init_state(recipe_of(seed), images, start)

  return init


def make_epoch_order(recipe_of: RecipeOf) -> Callable[[jax.Array, jax.Array], jax.Array]:
  """Returns `order(seed, epoch) -> int32 [steps * batch_size]`, see `steps.make_epoch_order`."""

  def epoch_order(seed: jax.Array, epoch: jax.Array) -> jax.Array:
    return steps.make_epoch_order(recipe_of(seed))(epoch)

  return epoch_order


def make_train_step(recipe_of: RecipeOf, data_parallel: DataParallel) -> Update:
  """Returns `train_step(seed, state, batch) -> (state, report)`, see `steps.make_train_step`."""

  def train_step(
    seed: jax.Array, state: steps.TrainState, batch: steps.Batch
  ) -> tuple[steps.TrainState, steps.StepMetrics]:
    return steps.make_train_step(recipe_of(seed), data_parallel)(state, batch)

  return train_step


def make_train_steps(recipe_of: RecipeOf, count: int, data_parallel: DataParallel) -> Update:
  """Returns `train_steps(seed, state, images, labels, order, masked) -> (state, report)`, see
  `steps.make_train_steps`.
  """

  def train_steps(
    seed: jax.Array,
    state: steps.TrainState,
    images: jax.Array,
    labels: jax.Array,
    order: jax.Array,
    masked: bool,
  ) -> tuple[steps.TrainState, steps.StepMetrics]:
    update = steps.make_train_steps(recipe_of(seed), count, data_parallel)
    return update(state, images, labels, order, masked)

  return train_steps
