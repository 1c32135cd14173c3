"""From a config and data to the parts of a run: network, optimiser, compiled steps. Training and
evaluation share it.
"""

import dataclasses
import functools
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
from cifar_jax.data import Examples, Splits, images_per_batch
from cifar_jax.devices import device_memory, sharding
from cifar_jax.models.pretrained.classifier import Pretrained
from cifar_jax.optim import make_average, schedules
from cifar_jax.run_dir import checkpoint
from cifar_jax.trainer import cached_features
from cifar_jax.trainer.host_batches import evaluation_batches
from cifar_jax.trainer.init_from import starting_variables
from cifar_jax.training import any_seed, losses, steps
from cifar_jax.training.metrics import Metrics
from cifar_jax.training.recipe import Loss, Recipe, steps_per_epoch
from cifar_jax.training.whitening import make_whitening
from cifar_jax.utils.errors import UserError

# Rows in one evaluation dispatch: large enough to hide the dispatch, small enough for any machine's
# cache.
EVALUATION_BATCH = 512
_MOST_UPDATES = 2**31 - 1  # the step is an int32


@dataclasses.dataclass(frozen=True)
class Trainer:
  """Everything a run needs that follows from its config and its data; no state.

  Attributes:
    config: validated.
    recipe: what the steps compute.
    mesh: the devices in use.
    schedule: updates made -> learning rate.
    total_steps: updates in the whole run.
    init: () -> the state before the first update, on the mesh.
    init_shapes: () -> the same as shapes; reads no weights.
    epoch_order: epoch -> order of the examples, int32, on the mesh.
    train_steps: (count) -> compiled function of that many updates, on data on the devices.
    train_step: compiled update on one batch from the host.
    eval_step: compiled evaluation of one batch, of data on the devices.
    evaluate_batch: compiled evaluation of one batch from the host.
  """

  config: ConfigDict
  recipe: Recipe
  mesh: Mesh
  schedule: optax.Schedule
  total_steps: int
  init: Callable[[], steps.TrainState]
  init_shapes: Callable[[], steps.TrainState]
  epoch_order: Callable[[jax.Array], jax.Array]
  train_steps: Callable[[int], Callable[..., tuple[steps.TrainState, steps.StepMetrics]]]
  train_step: Callable[[steps.TrainState, steps.Batch], tuple[steps.TrainState, steps.StepMetrics]]
  eval_step: Callable[..., tuple[Metrics, jax.Array]]
  evaluate_batch: Callable[[Any, Any, steps.Batch, Metrics], Metrics]

  @property
  def module(self) -> nn.Module:
    """The network."""
    return self.recipe.module

  @property
  def steps_per_epoch(self) -> int:
    """Updates in an epoch."""
    return self.recipe.steps_per_epoch

  @property
  def short_last_batch(self) -> bool:
    """Whether the last batch of an epoch has fewer examples than the others."""
    return self.recipe.short_last_batch

  @property
  def epochs(self) -> int:
    """Epochs in the run, the last one perhaps unfinished."""
    return -(-self.total_steps // self.steps_per_epoch)

  def dispatch_length(self, step: int, at_once: bool) -> int:
    """Updates in the dispatch after `step`: as many as lie between two host events, unless
    configured.

    Args:
      step: updates made.
      at_once: whether the feed can make several without the host.
    """
    config, per_epoch = self.config, self.steps_per_epoch
    wanted = config.steps_per_dispatch or (1 if jax.default_backend() == 'cpu' else per_epoch)
    if not at_once:
      wanted = 1
    position = step % per_epoch
    # The one short batch of an epoch is a program of its own.
    end = per_epoch - 1 if self.short_last_batch else per_epoch
    count = max(1, min(wanted, end - position, self.total_steps - step))
    if config.checkpoint.every_steps:
      count = min(count, config.checkpoint.every_steps - step % config.checkpoint.every_steps)
    return count

  def abstract_state(self) -> steps.TrainState:
    """The target for restoring a checkpoint onto this trainer's devices."""
    return checkpoint.abstract_state(self.init_shapes(), sharding.replicated(self.mesh))

  def place(self, split: Examples) -> tuple[jax.Array, jax.Array]:
    """Puts images uint8 [N, H, W, C] and labels int32 [N] on every device."""
    return sharding.replicate((split.images, split.labels), self.mesh)

  def place_to_evaluate(self, split: Examples) -> 'Placed':
    """The split on every device, or as it is where `config.data.placement` keeps it on the host."""
    return split if self.config.data.placement == 'host' else self.place(split)

  def evaluate(self, state: steps.TrainState, placed: 'Placed') -> dict[str, float]:
    """Exact mean loss and accuracy over a split: every example counts once."""
    if not isinstance(placed, tuple):
      return self._evaluate_from_host(state, placed)
    images, labels = placed
    metrics, start = sharding.replicate((Metrics.empty(), jnp.zeros((), jnp.int32)), self.mesh)
    variables = steps.evaluated_variables(self.recipe, state)
    for _ in range(0, len(labels), _evaluation_batch(self.recipe.image_shape, self.mesh)):
      metrics, start = self.eval_step(
        variables['params'], variables['batch_stats'], images, labels, start, metrics
      )
    return _means(metrics)

  def _evaluate_from_host(self, state: steps.TrainState, split: Examples) -> dict[str, float]:
    metrics = sharding.replicate(Metrics.empty(), self.mesh)
    variables = steps.evaluated_variables(self.recipe, state)
    for batch in evaluation_batches(
      split, self.mesh, _evaluation_batch(self.recipe.image_shape, self.mesh)
    ):
      metrics = self.evaluate_batch(variables['params'], variables['batch_stats'], batch, metrics)
    return _means(metrics)


Placed = tuple[jax.Array, jax.Array] | Examples  # on every device, or with the host


def _means(metrics: Metrics) -> dict[str, float]:
  return {name: float(value) for name, value in jax.device_get(metrics).compute().items()}


def build_trainer(
  config: ConfigDict, splits: Splits, normalize: Normalize | None = None
) -> Trainer:
  """Builds the network, the optimiser and the steps.

  Args:
    config: of the run.
    splits: what it is trained or measured on.
    normalize: of a run that is measured; None fits it to the training images.

  Raises:
    UserError: the config cannot be met.
  """
  sharding.keep_compiled_programs()
  _check_fits(config, splits)
  mesh = sharding.make_mesh(config.devices)
  total_steps, schedule_over = _plan(config, len(splits.train))
  recipe = dataclasses.replace(
    make_recipe(config, splits, normalize), batch_multiple=sharding.batch_multiple(config, mesh)
  )
  rows = recipe.padded_batch_size // mesh.size
  if rows % config.gradient_accumulation:
    raise UserError(
      f'--config.gradient_accumulation={config.gradient_accumulation} does not divide the {rows} '
      'rows of a batch on each device into equal parts; choose it, or --config.batch_size, so that '
      'it does'
    )
  if config.data.placement == 'device' and not cached_features.are_cached(recipe):
    device_memory.check_fits(splits, mesh)
  mapped = config.parallel == 'pmap'
  if mapped and (config.data.placement == 'host' or jax.process_count() > 1):
    raise UserError(
      '--config.parallel=pmap needs one process and --config.data.placement=device; use jit'
    )
  data_parallel = sharding.pmap_data_parallel(mesh) if mapped else sharding.jit_data_parallel(mesh)
  map_or_jit = sharding.pmap_step if mapped else sharding.jit_step
  seed = sharding.replicate(np.uint32(config.seed), mesh)
  recipe_of = functools.partial(_with_seed, recipe, config)
  init = functools.partial(sharding.jit_replicated(any_seed.make_init(recipe_of), mesh), seed)
  if isinstance(recipe.module, Pretrained):
    shapes_of_params = jax.eval_shape(init).params  # refuses images that are not the network's
    if cached_features.are_cached(recipe):
      cached_features.check(config, shapes_of_params)
  looked_at = splits.train.images[: config.whitening.images if config.whitening.layer else 0]
  shapes = functools.partial(jax.eval_shape, init, images=looked_at)
  return Trainer(
    config=config,
    recipe=recipe,
    mesh=mesh,
    schedule=schedule_over(total_steps / recipe.steps_per_epoch),
    total_steps=total_steps,
    init=lambda: init(images=looked_at, start=starting_variables(config, recipe.module, shapes())),
    init_shapes=shapes,
    epoch_order=functools.partial(
      sharding.jit_replicated(any_seed.make_epoch_order(recipe_of), mesh), seed
    ),
    train_steps=functools.cache(
      lambda count: functools.partial(
        map_or_jit(any_seed.make_train_steps(recipe_of, count, data_parallel), mesh, updates=True),
        seed,
      )
    ),
    train_step=functools.partial(
      sharding.jit_step(any_seed.make_train_step(recipe_of, data_parallel), mesh, updates=True),
      seed,
    ),
    evaluate_batch=sharding.jit_step(steps.make_evaluate_batch(recipe, data_parallel), mesh),
    eval_step=map_or_jit(
      steps.make_eval_step(recipe, _evaluation_batch(recipe.image_shape, mesh), data_parallel), mesh
    ),
  )


def _with_seed(recipe: Recipe, config: ConfigDict, seed: jax.Array) -> Recipe:
  augment = _augmentation(config, recipe.normalize, seed)
  return dataclasses.replace(recipe, seed=seed, augment=augment)


def make_recipe(config: ConfigDict, splits: Splits, normalize: Normalize | None = None) -> Recipe:
  """What a config asks for on some data, without devices; `normalize` as in `assemble`."""
  examples = len(splits.train)
  total_steps, schedule_over = _plan(config, examples)
  per_epoch = steps_per_epoch(examples, config.batch_size, config.data.last_batch)
  fitted = normalize or fit_normalize(config.data, splits.train.images)
  # Evaluation normalizes uint8, the augmentation float32 in 0..1: only where cached maps come in
  # place of images may float32 pass as they are.
  cached = config.model.get('features') == 'cached'
  normalize = cached_features.pass_maps(fitted) if cached else fitted
  return Recipe(
    module=models.create(config.model, splits.num_classes),
    image_shape=splits.image_shape,
    optimizer=_optimizer(config, examples),
    slowed_optimizer=(
      functools.partial(_optimizer, config, examples) if config.plateau.patience else None
    ),
    loss=losses.cross_entropy,
    training_loss=_training_loss(config.loss),
    penalty=losses.kernel_penalty(config.loss.l1, config.loss.l2),
    gradient_accumulation=config.gradient_accumulation,
    sharpness_radius=config.optimizer.get('sharpness_radius') or 0.0,
    normalize=normalize,
    statistics=fitted if isinstance(fitted, Statistics) else None,
    augment=_augmentation(config, normalize, config.seed),
    seed=config.seed,
    examples=examples,
    batch_size=config.batch_size,
    last_batch=config.data.last_batch,
    mix=make_mix(config.augment),
    average=make_average(
      config.average, total_steps, per_epoch, schedule_over(total_steps / per_epoch)
    ),
    adapt=make_whitening(config.whitening, normalize),
    ghost_rows=config.batch_norm.ghost_rows,
    tta=config.evaluate.tta,
  )


def _training_loss(loss_config: ConfigDict) -> Loss | None:
  """What is minimized, where it is not the plain cross-entropy that is reported."""
  smoothing, weights = loss_config.label_smoothing, loss_config.class_weights
  if not smoothing and not weights:
    return None
  loss = functools.partial(losses.cross_entropy, label_smoothing=smoothing)
  return losses.class_weighted(loss, weights) if weights else loss


def _augmentation(config: ConfigDict, normalize: Normalize, seed: int | jax.Array) -> Augmentation:
  if config.model.get('features') == 'cached':  # maps come in place of images, and stay as they are
    return lambda key, maps, indices, epoch: maps
  return make_augment(config.augment, normalize, steps.random_keys(seed).example)


def _optimizer(
  config: ConfigDict, examples: int, factor: jax.Array | None = None
) -> optax.GradientTransformation:
  """The optimizer of a config, its learning rates times a factor if there is one."""
  total_steps, unchanged = _plan(config, examples)
  per_epoch = steps_per_epoch(examples, config.batch_size, config.data.last_batch)

  def schedule_over(epochs: float) -> optax.Schedule:
    schedule = unchanged(epochs)
    return schedule if factor is None else lambda count: factor * schedule(count)

  schedule = schedule_over(total_steps / per_epoch)
  return optim.create(config.optimizer, schedule, per_epoch, schedule_over)


def _plan(config: ConfigDict, examples: int) -> tuple[int, Callable[[float], optax.Schedule]]:
  """Updates in the whole run, and the config's schedule as a function of the epochs it spans."""
  per_epoch = steps_per_epoch(examples, config.batch_size, config.data.last_batch)
  total = per_epoch * config.epochs
  if config.max_steps:
    total = min(total, config.max_steps)
  return total, functools.partial(
    schedules.create, config.schedule, optim.learning_rate(config.optimizer), per_epoch
  )


def _check_fits(config: ConfigDict, splits: Splits) -> None:
  """Raises UserError where config and data contradict each other."""
  examples = len(splits.train)
  updates, _ = _plan(config, examples)
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


def _evaluation_batch(image_shape: tuple[int, ...], mesh: Mesh) -> int:
  """Rows of an evaluation dispatch: fewer of large images, as many on each device."""
  rows = images_per_batch(image_shape, EVALUATION_BATCH)
  return -(-rows // mesh.size) * mesh.size
