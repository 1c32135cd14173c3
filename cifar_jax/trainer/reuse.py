"""Programs that serve several runs of a process, one after the other."""

import functools

from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.data import Splits
from cifar_jax.trainer.build import Trainer, build_trainer

_OF_THE_SEED = 'keys'  # the one property of a trainer that no other seed has


class SameButSeed:
  """Builds trainers. Where a config differs from the one before in its seed alone, and its data
  have the same shapes, the programs of that one are used again, traced and compiled as they are.
  """

  def __init__(self) -> None:
    self._last: Trainer | None = None

  def __call__(self, config: ConfigDict, splits: Splits) -> Trainer:
    """As `build_trainer`."""
    trainer = build_trainer(config, splits)
    if self._last is not None and _same_programs(self._last, trainer):
      vars(trainer).update(_programs(self._last))
    self._last = trainer
    return trainer


def _same_programs(old: Trainer, new: Trainer) -> bool:
  """Whether two trainers compute the same of other numbers."""
  left, right = (
    [(name, value) for name, value in configs.flatten(trainer.config) if name != 'seed']
    for trainer in (old, new)
  )
  # What was taken from the training images, which a seed chooses, is a constant of the programs.
  recipes = old.recipe, new.recipe
  fitted = any(recipe.statistics is not None or recipe.draw is not None for recipe in recipes)
  shapes = [
    (
      *(one.recipe.examples, one.recipe.image_shape, one.recipe.module, one.plan, one.mesh),
      *(one.recipe.class_weights, one.recipe.positive_weights),
    )
    for one in (old, new)
  ]
  return left == right and not fitted and shapes[0] == shapes[1]


def _programs(trainer: Trainer) -> dict[str, object]:
  """Those made so far, by the names of the properties that keep them."""
  return {
    name: value
    for name, value in vars(trainer).items()
    if isinstance(getattr(Trainer, name, None), functools.cached_property)
    if name != _OF_THE_SEED
  }
