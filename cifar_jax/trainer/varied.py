"""Runs that differ in their seed and in a few numbers: one recipe for all of them, in which those
numbers depend on the run.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax import optim
from cifar_jax.optim import Plan
from cifar_jax.trainer.recipe import make_schedule, make_training_loss
from cifar_jax.training.recipe import Recipe

LEARNING_RATE, LABEL_SMOOTHING = 'optimizer.learning_rate', 'loss.label_smoothing'
OF_OPTIMIZER = ('weight_decay', 'momentum')
# Options in which runs of one program may differ, beside all options of the schedule.
NUMBERS = (LEARNING_RATE, LABEL_SMOOTHING, *(f'optimizer.{name}' for name in OF_OPTIMIZER))
_WORDS = ('seed', 'tags', 'data.fold')  # of which no program knows


def may_differ(option: str) -> bool:
  """Whether runs of one program may differ in an option such as 'optimizer.learning_rate'."""
  return option in NUMBERS or option in _WORDS or option.startswith('schedule.')


def differing(several: Sequence[ConfigDict]) -> list[str]:
  """The options in which configs differ, by name."""
  flat = [dict(configs.flatten(config)) for config in several]
  names = dict.fromkeys(name for found in flat for name in found)
  return [name for name in names if any(found.get(name) != flat[0].get(name) for found in flat)]


def objection(several: Sequence[ConfigDict]) -> str:
  """Why runs of these configs cannot be one program, as the second half of a sentence; '' if they
  can.
  """
  names = differing(several)
  others = [name for name in names if not may_differ(name)]
  config = several[0]
  if others:
    return f'they differ in {", ".join(others)}'
  if config.data.placement == 'host':
    return '--config.data.placement=host gives each run batches of its own'
  for reason, is_so in (
    ('--config.parallel=pmap', config.parallel == 'pmap'),
    (
      '--config.early_stopping ends each run at an epoch of its own',
      config.early_stopping.patience,
    ),
    (
      '--config.plateau lowers the rate of each run at an epoch of its own',
      config.plateau.patience,
    ),
    ('--config.profile records one run', config.profile.steps),
  ):
    if is_so:
      return reason
  of_optimizer = [name for name in OF_OPTIMIZER if f'optimizer.{name}' in names]
  if of_optimizer and config.optimizer.groups:
    return f'--config.optimizer.groups have a {of_optimizer[0]} of their own'
  if 'momentum' in of_optimizer and not all(_values(several, 'momentum')):
    return 'with --config.optimizer.momentum=0 there is no velocity, and the others have one'
  rates_differ = any(name == LEARNING_RATE or name.startswith('schedule.') for name in names)
  if rates_differ and config.weight_averaging.name == 'schedule_free':
    return "the weights of --config.weight_averaging.name='schedule_free' follow from each rate"
  return ''


def make_varied_recipe(
  recipe: Recipe, config: ConfigDict, several: Sequence[ConfigDict], plan: Plan
) -> Callable[[jax.Array], Recipe]:
  """Builds `varied_recipe(run) -> recipe` of the run with an index, int32 [], which may be traced.

  Every number is the one that the run has by itself, taken from a table.

  Args:
    recipe: That of `config`, one of the runs or another like them.
    several: The configs of the runs, without an `objection` among all of these.
    plan: The length of the runs.
  """
  names = differing([config, *several])
  traced = [name for name in OF_OPTIMIZER if f'optimizer.{name}' in names]
  rates_differ = any(name == LEARNING_RATE or name.startswith('schedule.') for name in names)

  def varied_recipe(run: jax.Array) -> Recipe:
    changes: dict[str, Any] = {}
    if rates_differ or traced:

      def schedule_over(plan: Plan) -> optax.Schedule:
        schedules = [make_schedule(config, plan) for config in several]
        if not rates_differ:
          return schedules[0]
        return lambda count: jnp.stack([schedule(count) for schedule in schedules])[run]

      changes['optimizer'] = optim.create(
        several[0].optimizer,
        schedule_over,
        plan,
        {name: jnp.asarray(_values(several, name), jnp.float32)[run] for name in traced},
      )
    if LABEL_SMOOTHING in names:
      smoothing = jnp.asarray([config.loss.label_smoothing for config in several], jnp.float32)
      changes['training_loss'] = make_training_loss(
        recipe.task, smoothing[run], recipe.class_weights, recipe.positive_weights
      )
    return dataclasses.replace(recipe, **changes)

  return varied_recipe


def _values(several: Sequence[ConfigDict], name: str) -> list[float]:
  """An option of each run's optimizer, its default where it is not set."""
  return [getattr(optim.validate(config.optimizer), name) for config in several]
