"""Many runs trained in one program, which differ in their seed and in a few numbers.

Each run's folder is afterwards what `loop.train` leaves, but for `runs_together` in its summary:
either goes on with the other's. The batches are the same, order, augmentation and dropout included,
since they follow from (seed, step); parameters are the same up to the rounding of float32, since a
product over a batch of runs may add up in another order.
"""

import contextlib
import dataclasses
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax import data
from cifar_jax.analysis import layer_table
from cifar_jax.config.options import BALANCED
from cifar_jax.data import Splits
from cifar_jax.devices import sharding
from cifar_jax.run_dir.progress import Progress
from cifar_jax.run_dir.signals import stop_signals
from cifar_jax.trainer import cached_features, resume, together_rules
from cifar_jax.trainer.build import Trainer, build_trainer
from cifar_jax.trainer.many_programs import ManyPrograms
from cifar_jax.trainer.run_group import AsLaunched, ExtraCallbacks, RunGroup
from cifar_jax.trainer.varied import make_varied_recipe, objection
from cifar_jax.utils.errors import UserError, is_out_of_memory


class NotTogetherError(UserError):
  """These runs cannot be one program, or would not gain by it; nothing was begun."""


def train(
  several: Sequence[ConfigDict],
  runs: Sequence[pathlib.Path],
  progress: Progress,
  extra_callbacks: ExtraCallbacks = lambda config: (),
  only_if_faster: bool = False,
  as_launched: AsLaunched = lambda config, run: contextlib.nullcontext(),
) -> list[dict[str, Any] | UserError]:
  """Trains, or continues, the runs in some folders, as many at a time as the memory holds.

  Args:
    several: The config of each run, locked; they may differ where `varied.may_differ` says.
    runs: Their folders, made if missing.
    progress: Shows means over the runs that are trained.
    extra_callbacks: What else is to happen around the updates of a run, as in `loop.train`.
    only_if_faster: Whether to refuse where one run after the other takes less time.
    as_launched: (config, folder) -> what is to hold while that run's summary is written.

  Returns:
    For each run the content of summary.json; {} if a signal stopped it before its end; or the error
    that stopped it alone, which the user was told: its loss is not finite.

  Raises:
    NotTogetherError: They cannot be one program, or gain nothing by it.
    UserError: As `loop.train` raises it for any of them.
  """
  for config in several:
    configs.validate(config)
  reason = objection(several) or (
    'several processes train one run' if jax.process_count() > 1 else ''
  )
  if reason:
    raise NotTogetherError(f'these runs cannot be trained in one program: {reason}')
  outcomes: list[dict[str, Any] | UserError] = []
  for config, run in zip(several, runs, strict=True):
    configs.validate_config_unchanged(config, run)
    outcomes.append(resume.finished(config, run, progress))
  left = [index for index, outcome in enumerate(outcomes) if not outcome]
  if not left:
    return outcomes

  splits = _load(several)
  lead = build_trainer(several[0], splits[0])
  if reason := _objection_to_data(lead, splits):
    raise NotTogetherError(f'these runs cannot be trained in one program: {reason}')
  if only_if_faster and (reason := together_rules.slower(lead)):
    raise NotTogetherError(f'that is faster, since {reason}')
  at_once, programs = _programs_that_fit(lead, [several[i] for i in left], splits)
  if at_once == 1 < len(left):
    raise NotTogetherError('these runs cannot be trained in one program: the memory holds one')
  network = layer_table.describe(lead.recipe.module, splits[0].image_shape)
  with stop_signals() as stop:
    for start in range(0, len(left), at_once):
      part = left[start : start + at_once]
      own = [splits[i % len(splits)] for i in part]  # there is one for all, or one for each
      configs_of_part = [several[i] for i in part]
      if start:
        programs = _programs(lead, configs_of_part, len(splits) > 1)
      group = RunGroup(programs, configs_of_part, own, stop)
      with group.opened([runs[i] for i in part], network, progress, extra_callbacks):
        try:
          found = group.train(as_launched)
        except jax.errors.JaxRuntimeError as error:
          if not is_out_of_memory(error):
            raise
          raise UserError(
            f'{len(part)} runs in one program need more memory than was foreseen; one run after '
            'the other goes on from what is saved: --together=no'
          ) from error
      for i, outcome in zip(part, found, strict=True):
        outcomes[i] = outcome
      if stop.asked:
        break
  return outcomes


def _load(several: Sequence[ConfigDict]) -> list[Splits]:
  """The data of each run, or one for all."""
  config = several[0]
  held_out = config.data.folds or config.data.validation != 'test'
  of_seed = config.data.validation_from == 'random' and held_out
  same_seed = len({config.seed for config in several}) == 1
  own_fold = len({config.data.fold for config in several}) > 1
  found = [
    data.with_shared_images_noted(data.load_splits(config))
    for config in (several if own_fold or (of_seed and not same_seed) else several[:1])
  ]
  for splits in found:
    data.check_classes_left(splits)
  first, *others = (splits.train.labels for splits in found)
  same = all(len(labels) == len(first) and (labels == first).all() for labels in others)
  held = [splits.facts for splits in found]
  return found[:1] if same and all(facts == held[0] for facts in held) else found


def _objection_to_data(trainer: Trainer, splits: Sequence[Splits]) -> str:
  """As `varied.objection`, of what the data, from `_load`, and the devices tell."""
  own_data = len(splits) > 1
  if cached_features.are_cached(trainer.recipe.module):
    return 'features of the images are computed once for each run'
  if trainer.recipe.task.measure is not None:
    return 'their images may have several labels, and what is measured of those needs whole sets'
  if trainer.generator == 'rbg':
    return (
      "the generator 'rbg' draws other numbers for many keys at once; use --config.rng=threefry"
    )
  if sharding.platform(trainer.mesh) == 'cpu' and trainer.mesh.size > 1:
    return 'the kernels for CPU cannot be divided among several devices; use --config.devices=1'
  each = 'fold' if trainer.config.data.folds else 'seed'
  last = '' if each == 'fold' else "; use --config.data.validation_from='last'"
  if len({(len(one.train), len(one.validation)) for one in splits}) > 1:
    return (
      f'each {each} holds out another number of images, since equal ones or groups stay together '
      f'or folds differ by one{last}'
    )
  if own_data and (trainer.recipe.statistics is not None or trainer.config.whitening.layer):
    return (
      f'each {each} holds out other images, and what they are normalized or whitened by follows '
      f'from the rest{last}'
    )
  weighted = trainer.config.loss.class_weights == BALANCED
  if own_data and (weighted or trainer.recipe.draw is not None):
    return (
      f'each {each} holds out other images, and what is balanced follows from the labels of the '
      f'rest{last}'
    )
  return ''


def _programs_that_fit(
  lead: Trainer, several: Sequence[ConfigDict], splits: Sequence[Splits]
) -> tuple[int, ManyPrograms]:
  """The number of runs that the memory holds, and the programs of the first so many."""
  own_data = len(splits) > 1
  at_least = together_rules.lower_bound(lead, splits[0], own_data, len(several))
  made: dict[int, ManyPrograms] = {}

  def compiled(runs: int) -> float:
    made[runs] = _programs(lead, several[:runs], own_data)
    return made[runs].bytes_needed(splits[0])

  there = sharding.bytes_of_a_device(lead.mesh)
  fits = together_rules.most_that_fit(len(several), there or math.inf, at_least, compiled)
  return fits, made.get(fits) or _programs(lead, several[:fits], own_data)


def _programs(lead: Trainer, several: Sequence[ConfigDict], own_data: bool) -> ManyPrograms:
  varied_recipe = make_varied_recipe(lead.recipe, lead.config, several, lead.plan)
  trainer = dataclasses.replace(lead, config=several[0], recipe=varied_recipe(jnp.int32(0)))
  return ManyPrograms(trainer, varied_recipe, len(several), own_data)
