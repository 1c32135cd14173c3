"""From a config and data to the parts of a run: network, optimizer, compiled steps. Training and
evaluation share it.
"""

import dataclasses
import functools
import types
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import Mesh
from ml_collections import ConfigDict

from cifar_jax import models, optim
from cifar_jax.augment import Augmentation, make_augment, make_mix
from cifar_jax.augment.normalize import Normalize, Statistics, fit_normalize
from cifar_jax.data import Splits
from cifar_jax.devices import device_memory, pmap, sharding
from cifar_jax.layers.batch_axis import DataParallel
from cifar_jax.models.pretrained.classifier import Pretrained
from cifar_jax.optim import Plan, make_average, schedules
from cifar_jax.trainer import cached_features
from cifar_jax.trainer.compilation_cache import keep_compiled_programs
from cifar_jax.trainer.evaluator import Evaluator
from cifar_jax.trainer.init_from import starting_variables
from cifar_jax.training import losses, steps
from cifar_jax.training.recipe import Loss, Recipe, steps_per_epoch
from cifar_jax.training.whitening import make_whitening
from cifar_jax.utils.errors import UserError

_MOST_UPDATES = 2**31 - 1  # the step is an int32

Update = tuple[steps.TrainState, steps.StepMetrics]  # what each training step returns


@dataclasses.dataclass(frozen=True, eq=False)
class Trainer:
  """Everything a run needs that follows from its config and its data; no state.

  The programs among the properties are compiled at first use and serve every seed.

  Attributes:
    config: The validated config.
    recipe: What the steps compute.
    mesh: The devices in use.
    plan: The updates of the run.
    schedule: The number of updates made -> the learning rate.
    init_images: The training images that the initialization looks at, uint8 [N, H, W, C].
  """

  config: ConfigDict
  recipe: Recipe
  mesh: Mesh
  plan: Plan
  schedule: optax.Schedule
  init_images: np.ndarray

  @property
  def module(self) -> nn.Module:
    """The network."""
    return self.recipe.module

  @property
  def total_steps(self) -> int:
    """The number of updates in the whole run."""
    return self.plan.total_steps

  @property
  def steps_per_epoch(self) -> int:
    """The number of updates per epoch."""
    return self.plan.steps_per_epoch

  @property
  def short_last_batch(self) -> bool:
    """Whether the last batch of an epoch has fewer examples than the others."""
    return self.recipe.short_last_batch

  @property
  def epochs(self) -> int:
    """The number of epochs in the run, the last one perhaps unfinished."""
    return -(-self.total_steps // self.steps_per_epoch)

  def dispatch_length(self, step: int, supports_scan: bool) -> int:
    """Updates in the dispatch after `step`: as many as lie between two host events, unless
    configured.

    Args:
      step: The number of updates made.
      supports_scan: Whether the input pipeline can make several without the host.
    """
    config, per_epoch = self.config, self.steps_per_epoch
    wanted = config.steps_per_dispatch or (1 if jax.default_backend() == 'cpu' else per_epoch)
    if not supports_scan:
      wanted = 1
    position = step % per_epoch
    # The one short batch of an epoch is a program of its own.
    end = per_epoch - 1 if self.short_last_batch else per_epoch
    count = max(1, min(wanted, end - position, self.total_steps - step))
    if config.checkpoint.every_steps:
      count = min(count, config.checkpoint.every_steps - step % config.checkpoint.every_steps)
    return count

  @functools.cached_property
  def keys(self) -> steps.RandomKeys:
    """The root keys of the run, on every device."""
    seed = sharding.replicate(np.uint32(self.config.seed), self.mesh)
    return sharding.jit_replicated(steps.random_keys, self.mesh)(seed)

  @functools.cached_property
  def epoch_order(self) -> Callable[[steps.RandomKeys, jax.Array], jax.Array]:
    """(keys, epoch) -> the order of the examples, int32, on every device."""
    return sharding.jit_replicated(steps.make_epoch_order(self.recipe), self.mesh)

  @functools.cached_property
  def train_steps(self) -> Callable[[int], Callable[..., Update]]:
    """count -> so many updates on data on the devices, as `steps.make_train_steps` says."""

    @functools.cache
    def train_steps(count: int) -> Callable[..., Update]:
      function = steps.make_train_steps(self.recipe, count, self._data_parallel)
      return self._parallel.compile_step(function, self.mesh, updates=True)

    return train_steps

  @functools.cached_property
  def train_step(self) -> Callable[[steps.RandomKeys, steps.TrainState, steps.Batch], Update]:
    """An update on one batch from the host, as `steps.make_train_step` says."""
    function = steps.make_train_step(self.recipe, self._data_parallel)
    return self._parallel.compile_step(function, self.mesh, updates=True)

  @functools.cached_property
  def evaluate(self) -> Evaluator:
    """(state, placed split) -> loss and accuracy."""
    return Evaluator(
      self.recipe,
      self.mesh,
      self._data_parallel,
      self._parallel.compile_step,
      self.config.data.placement,
    )

  def init(self) -> steps.TrainState:
    """The state before the first update, on every device."""
    start = starting_variables(self.config, self.module, self.init_shapes())
    return self._init(self.keys, self.init_images, start)

  def init_shapes(self) -> steps.TrainState:
    """The shapes of the state; reads no weights.

    Raises:
      UserError: the images are not those that the network takes.
    """
    return jax.eval_shape(self._init, self.keys, self.init_images)

  def abstract_state(self) -> steps.TrainState:
    """The target for restoring a checkpoint onto this trainer's devices."""
    return steps.abstract_state(self.init_shapes(), sharding.replicated(self.mesh))

  @functools.cached_property
  def _init(self) -> Callable[..., steps.TrainState]:
    return sharding.jit_replicated(functools.partial(steps.init_state, self.recipe), self.mesh)

  @property
  def _parallel(self) -> types.ModuleType:
    """What compiles steps and divides their batches: `sharding` or `pmap`."""
    return pmap if self.config.parallel == 'pmap' else sharding

  @property
  def _data_parallel(self) -> DataParallel:
    return self._parallel.data_parallel(self.mesh)


def build_trainer(
  config: ConfigDict, splits: Splits, normalize: Normalize | None = None
) -> Trainer:
  """Builds the network, the optimizer and the steps.

  Args:
    config: The config of the run.
    splits: The data that it is trained or measured on.
    normalize: The normalization of a run that is measured; None fits it to the training images.

  Raises:
    UserError: the config cannot be met.
  """
  keep_compiled_programs()
  plan = make_plan(config, len(splits.train))
  _check_fits(config, splits, plan)
  mesh = sharding.make_mesh(config.devices)
  recipe = make_recipe(config, splits, plan, normalize, sharding.batch_multiple(config, mesh))
  rows = recipe.padded_batch_size // mesh.size
  if rows % config.gradient_accumulation:
    raise UserError(
      f'--config.gradient_accumulation={config.gradient_accumulation} does not divide the {rows} '
      'rows of a batch on each device into equal parts; choose it, or --config.batch_size, so that '
      'it does'
    )
  cached = cached_features.are_cached(recipe)
  if config.data.placement == 'device' and not cached:
    device_memory.check_fits(splits.image_bytes, mesh)
  if config.parallel == 'pmap':
    pmap.check_config(config)
  trainer = Trainer(
    config=config,
    recipe=recipe,
    mesh=mesh,
    plan=plan,
    schedule=_schedule(config, plan),
    init_images=splits.train.images[: config.whitening.images if config.whitening.layer else 0],
  )
  if isinstance(recipe.module, Pretrained):
    shapes = trainer.init_shapes()  # refuses images that are not the network's
    if cached:
      cached_features.check(config, shapes.params)
  return trainer


def make_recipe(
  config: ConfigDict,
  splits: Splits,
  plan: Plan,
  normalize: Normalize | None = None,
  batch_multiple: int = 1,
) -> Recipe:
  """What a config asks for on some data; pure, no devices.

  Args:
    config: The config of the run.
    splits: The data that it is trained or measured on.
    plan: The updates of the run.
    normalize: The normalization of a run that is measured; None fits it to the training images.
    batch_multiple: The batch is filled to a multiple of it with rows that do not count.
  """
  fitted = normalize or fit_normalize(config.data, splits.train.images)
  # Evaluation normalizes uint8, the augmentation float32 in 0..1: only where cached maps come in
  # place of images may float32 pass as they are.
  cached = config.model.get('features') == 'cached'
  normalize = cached_features.pass_maps(fitted) if cached else fitted
  return Recipe(
    module=models.create(config.model, splits.num_classes),
    image_shape=splits.image_shape,
    optimizer=_optimizer(config, plan),
    loss=losses.cross_entropy,
    training_loss=_training_loss(config.loss),
    penalty=losses.kernel_penalty(config.loss.l1, config.loss.l2),
    gradient_accumulation=config.gradient_accumulation,
    sharpness_radius=config.optimizer.get('sharpness_radius') or 0.0,
    normalize=normalize,
    statistics=fitted if isinstance(fitted, Statistics) else None,
    augment=_augmentation(config, normalize),
    examples=len(splits.train),
    batch_size=config.batch_size,
    last_batch=config.data.last_batch,
    mix=make_mix(config.augment),
    average=make_average(config.average, plan, _schedule(config, plan)),
    data_dependent_init=make_whitening(config.whitening, normalize),
    ghost_rows=config.batch_norm.ghost_rows,
    batch_multiple=batch_multiple,
    tta=config.evaluate.tta,
  )


def _training_loss(loss_config: ConfigDict) -> Loss | None:
  """What is minimized, where it is not the plain cross-entropy that is reported."""
  smoothing, weights = loss_config.label_smoothing, loss_config.class_weights
  if not smoothing and not weights:
    return None
  loss = functools.partial(losses.cross_entropy, label_smoothing=smoothing)
  return losses.class_weighted(loss, weights) if weights else loss


def _augmentation(config: ConfigDict, normalize: Normalize) -> Augmentation:
  if config.model.get('features') == 'cached':  # maps come in place of images, and stay as they are
    return lambda key, example_key, maps, indices, epoch: maps
  return make_augment(config.augment, normalize)


def _optimizer(config: ConfigDict, plan: Plan) -> optax.GradientTransformation:
  """The optimizer of a config; its state has the scale of all its learning rates, `lr_scale`, where
  `config.plateau` may lower them.
  """

  def create(lr_scale: Any = None) -> optax.GradientTransformation:
    def schedule_over(plan: Plan) -> optax.Schedule:
      schedule = _schedule(config, plan)
      return schedule if lr_scale is None else lambda count: lr_scale * schedule(count)

    return optim.create(config.optimizer, schedule_over, plan)

  if not config.plateau.patience:
    return create()
  return optax.inject_hyperparams(create, hyperparam_dtype=jnp.float32)(lr_scale=1.0)


def _schedule(config: ConfigDict, plan: Plan) -> optax.Schedule:
  return schedules.create(config.schedule, optim.learning_rate(config.optimizer), plan)


def make_plan(config: ConfigDict, examples: int) -> Plan:
  """How long a run on so many training examples is."""
  per_epoch = steps_per_epoch(examples, config.batch_size, config.data.last_batch)
  total = per_epoch * config.epochs
  if config.max_steps:
    total = min(total, config.max_steps)
  return Plan(total, per_epoch)


def _check_fits(config: ConfigDict, splits: Splits, plan: Plan) -> None:
  """Raises UserError where config and data contradict each other."""
  examples, updates = len(splits.train), plan.total_steps
  if updates > _MOST_UPDATES:
    raise UserError(
      f'--config.epochs={config.epochs} are {updates} updates, more than the {_MOST_UPDATES} that '
      'are counted; use fewer, or --config.max_steps'
    )
  if config.batch_size > examples and config.data.last_batch == 'drop':
    raise UserError(
      f'--config.batch_size={config.batch_size} is more than the {examples} training examples, and '
      "--config.data.last_batch='drop' would drop them all; use a smaller batch or 'keep'"
    )
  weights = config.loss.class_weights
  if weights and len(weights) != splits.num_classes:
    raise UserError(
      f'--config.loss.class_weights has {len(weights)} numbers for {splits.num_classes} classes'
    )
