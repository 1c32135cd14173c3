"""Builds the pure parts of a run from a config and data."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from cifar_jax import models, optim
from cifar_jax.augment import Augmentation, make_augment, make_mix
from cifar_jax.augment.normalize import Normalize, Statistics, fit_normalize
from cifar_jax.config.options import BALANCED
from cifar_jax.data import Splits
from cifar_jax.data.statistics import class_counts
from cifar_jax.optim import Plan, make_average, schedules
from cifar_jax.trainer import cached_features
from cifar_jax.training import losses, tasks, tta
from cifar_jax.training.losses import Loss
from cifar_jax.training.multi_label import balanced_positive_weights
from cifar_jax.training.recipe import Recipe, steps_per_epoch
from cifar_jax.training.sampling import make_balanced_draw
from cifar_jax.training.tasks import Task
from cifar_jax.training.whitening import make_whitening
from cifar_jax.utils.errors import UserError

_MOST_UPDATES = 2**31 - 1  # the step is an int32


def make_plan(config: ConfigDict, examples: int) -> Plan:
  """How long a run on so many training examples is."""
  per_epoch = steps_per_epoch(examples, config.batch_size, config.data.drop_remainder)
  total = per_epoch * config.epochs
  if config.max_steps:
    total = min(total, config.max_steps)
  return Plan(total, per_epoch)


def check_fits(config: ConfigDict, splits: Splits, plan: Plan) -> None:
  """Raises UserError where config and data contradict each other."""
  examples, updates = len(splits.train), plan.total_steps
  if updates > _MOST_UPDATES:
    raise UserError(
      f'--config.epochs={config.epochs} are {updates} updates, more than the {_MOST_UPDATES} that '
      'are counted; use fewer, or --config.max_steps'
    )
  if config.batch_size > examples and config.data.drop_remainder:
    raise UserError(
      f'--config.batch_size={config.batch_size} is more than the {examples} training examples, and '
      '--config.data.drop_remainder=True would drop them all; use a smaller batch or False'
    )
  weights = config.loss.class_weights
  if weights and weights != BALANCED and len(weights) != splits.num_classes:
    raise UserError(
      f'--config.loss.class_weights has {len(weights)} numbers for {splits.num_classes} classes'
    )
  _check_task(config, splits)


def _check_task(config: ConfigDict, splits: Splits) -> None:
  """Raises UserError where a config asks for what the labels have no meaning for."""
  _check_watched(config, splits)
  several = tasks.of_labels(splits.train.labels) is tasks.MULTI_LABEL
  if config.loss.positive_weights == 'balanced':
    if not several:
      raise UserError(
        "--config.loss.positive_weights='balanced' is for images that may have several labels; use "
        '--config.loss.class_weights'
      )
    counts = class_counts(splits.train, splits.num_classes)
    if not counts.all():
      raise UserError(
        f"--config.loss.positive_weights='balanced': no training image has the label "
        f"{splits.class_names[int(counts.argmin())]}; use 'none'"
      )
  if not several:
    return
  source = splits.source
  for asked, said in (
    (
      config.loss.class_weights == BALANCED,
      f"loss.class_weights='balanced' goes by the one class of an image, and those of {source} may "
      "have several; use --config.loss.positive_weights='balanced'",
    ),
    (
      config.data.sampling == 'balanced',
      f"data.sampling='balanced' goes by the one class of an image, and those of {source} may have "
      "several; use --config.data.sampling='shuffle'",
    ),
    (
      tta.is_selective(config.evaluate.tta, config.evaluate.tta_fraction),
      f'evaluate.tta_fraction goes by the probability of one class, and the images of {source} may '
      'have several; use 1',
    ),
    (
      config.evaluate.images_every_epochs,
      f'evaluate.images_every_epochs draws the confusion of single classes, and the images of '
      f'{source} may have several; use 0, and python -m cifar_jax report',
    ),
  ):
    if asked:
      raise UserError(f'--config.{said}')


def _check_watched(config: ConfigDict, splits: Splits) -> None:
  """Raises UserError where a run would go by a mean average precision that there is not."""
  watching = {f'{name}.monitor': config[name] for name in ('early_stopping', 'plateau')}
  watched = {name: section.monitor for name, section in watching.items() if section.patience}
  for name, metric in {**watched, 'checkpoint.best': config.checkpoint.best}.items():
    if metric != 'val_map':
      continue
    if tasks.of_labels(splits.train.labels) is not tasks.MULTI_LABEL:
      raise UserError(
        f"--config.{name}='val_map' is a mean over labels of which an image may have several, and "
        f'the images of {splits.source} have one each; use val_accuracy or val_loss'
      )
    if not splits.validation.labels.any():
      raise UserError(
        f"--config.{name}='val_map' is a mean over the labels that validation images have, and "
        f'those of {splits.source} have none; hold other images out, or use val_loss'
      )


def make_recipe(
  config: ConfigDict,
  splits: Splits,
  plan: Plan,
  normalize: Normalize | None = None,
  batch_multiple: int = 1,
) -> Recipe:
  """What a config asks for on some data; pure, no devices.

  Args:
    normalize: The normalization of a run that is measured; None fits it to the training images.
    batch_multiple: The batch is filled to a multiple of it with rows that do not count.
  """
  task = tasks.of_labels(splits.train.labels)
  positive_weights: tuple[float, ...] = ()
  if config.loss.positive_weights == 'balanced':
    positive_weights = balanced_positive_weights(splits.train.labels)
  fitted = normalize = normalize or fit_normalize(config.data, splits.train.images)
  module = models.create(config.model, splits.num_classes)
  if cached_features.are_cached(module):
    normalize = cached_features.pass_maps(fitted)
    augment: Augmentation = cached_features.keep_maps
  else:
    augment = make_augment(config.augment, normalize)
  weights = tuple(config.loss.class_weights)
  if weights == BALANCED:
    weights = losses.balanced_class_weights(splits.train.labels, splits.num_classes)
  balanced = config.data.sampling == 'balanced'
  return Recipe(
    module=module,
    image_shape=splits.image_shape,
    optimizer=_optimizer(config, plan),
    loss=task.loss,
    task=task,
    draw=make_balanced_draw(splits.train.labels) if balanced else None,
    class_weights=weights,
    positive_weights=positive_weights,
    training_loss=make_training_loss(task, config.loss.label_smoothing, weights, positive_weights),
    penalty=losses.kernel_penalty(config.loss.l1, config.loss.l2),
    grad_accum_steps=config.grad_accum_steps,
    sam_rho=optim.validate(config.optimizer).sam_rho or 0.0,
    normalize=normalize,
    statistics=fitted if isinstance(fitted, Statistics) else None,
    augment=augment,
    examples=len(splits.train),
    batch_size=config.batch_size,
    drop_remainder=config.data.drop_remainder,
    mix=make_mix(config.augment),
    average=make_average(config.weight_averaging, plan, make_schedule(config, plan)),
    data_dependent_init=make_whitening(config.whitening, normalize),
    ghost_batch_size=config.batch_norm.ghost_batch_size,
    batch_multiple=batch_multiple,
    tta=config.evaluate.tta,
    tta_fraction=config.evaluate.tta_fraction,
  )


def make_training_loss(
  task: Task,
  smoothing: Any,
  weights: tuple[float, ...],
  positive_weights: tuple[float, ...],
) -> Loss | None:
  """What is minimized, where it is not the plain cross-entropy that is reported.

  Args:
    smoothing: As `config.loss.label_smoothing`; traced where runs differ in it.
    weights: The factor of each class; (): all 1.
    positive_weights: The factor of the loss of each label where an image has it; (): 1.
  """
  plain = not isinstance(smoothing, jax.Array) and not smoothing
  if plain and not weights and not positive_weights:
    return None
  return task.minimized(smoothing, weights, positive_weights)


def _optimizer(config: ConfigDict, plan: Plan) -> optax.GradientTransformation:
  """The optimizer of a config; its state has the scale of all its learning rates, `lr_scale`, where
  `config.plateau` may lower them.
  """

  def create(lr_scale: Any = None) -> optax.GradientTransformation:
    def schedule_over(plan: Plan) -> optax.Schedule:
      schedule = make_schedule(config, plan)
      return schedule if lr_scale is None else lambda count: lr_scale * schedule(count)

    return optim.create(config.optimizer, schedule_over, plan)

  if not config.plateau.patience:
    return create()
  return optax.inject_hyperparams(create, hyperparam_dtype=jnp.float32)(lr_scale=1.0)


def make_schedule(config: ConfigDict, plan: Plan) -> optax.Schedule:
  """The number of updates made -> the learning rate, over a plan that may be that of a part."""
  return schedules.create(config.schedule, optim.learning_rate(config.optimizer), plan)
