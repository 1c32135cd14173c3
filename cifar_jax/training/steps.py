"""The training step and the evaluation step as pure functions: no input or output, no devices.

Everything random is a function of (seed, step), so the state of the data iterator is the step
number:

* the order of epoch e comes from `fold_in(order key, e)`;
* augmentation and dropout of step s come from `fold_in(step key, s)`;
* what belongs to example i throughout the run comes from `fold_in(example key, i)`.

A run may therefore stop after any step and go on, on any number of devices, with the same batches.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from cifar_jax import models
from cifar_jax.layers.batch_axis import DataParallel
from cifar_jax.training.gradients import Rows, compute_gradients, total_metrics
from cifar_jax.training.losses import Target
from cifar_jax.training.metrics import Metrics, batch_metrics
from cifar_jax.training.recipe import Recipe
from cifar_jax.training.tta import mean_logits

Images = jax.Array  # uint8 [N, H, W, C] in the data set, float32 [B, H, W, C] in a batch
Labels = jax.Array  # int32 [N]
WHOLE = DataParallel()  # all rows on one device


@struct.dataclass
class TrainState:
  """All that a run carries from step to step; a checkpoint holds exactly this.

  Attributes:
    step: int32 [], updates made so far.
    params: float32 tree of trainable arrays.
    batch_stats: float32 tree of moving averages; empty without BatchNorm.
    opt_state: the Optax state.
    metrics: sums over the epoch that is under way, so that its averages survive an interruption.
    bad_step: int32 [], the first step whose loss or updated parameters were not finite; -1 while
      all are.
    slow: the slow copy, a dictionary of 'params' and 'batch_stats', that `config.average` keeps; ()
      without it.
    rate_factor: float32 [], of the learning rate, where `config.plateau` may lower it; else ().
  """

  step: jax.Array
  params: Any
  batch_stats: Any
  opt_state: Any
  metrics: Metrics
  bad_step: jax.Array
  slow: Any = ()
  rate_factor: Any = ()


@struct.dataclass
class Batch:
  """The examples of one update.

  Attributes:
    images: uint8 [B, H, W, C].
    labels: int32 [B].
    indices: int32 [B], their places in the training set.
    mask: bool [B], False for rows that only fill the batch; None where all rows count.
  """

  images: jax.Array
  labels: jax.Array
  indices: jax.Array
  mask: jax.Array | None


@struct.dataclass
class StepMetrics:
  """What the host may look at after a step: averages of the epoch so far, and `bad_step`."""

  loss: jax.Array
  accuracy: jax.Array
  bad_step: jax.Array


@struct.dataclass
class RandomKeys:
  """The root keys of a run.

  Attributes:
    init: of initial parameters.
    order: of the examples' order in each epoch.
    step: of what a step draws.
    example: of what belongs to an example throughout the run.
  """

  init: jax.Array
  order: jax.Array
  step: jax.Array
  example: jax.Array


def random_keys(seed: int | jax.Array) -> RandomKeys:
  """The root keys of a run, all from its seed: a number or a program's argument, uint32 []."""
  return RandomKeys(*jax.random.split(jax.random.key(seed), 4))


def init_state(recipe: Recipe, images: Any = None, start: Any = None) -> TrainState:
  """The state before the first update.

  Args:
    recipe: of the run.
    images: what `recipe.adapt` looks at, uint8 [N, H, W, C].
    start: variables that take the place of random ones, a part of the module's tree; or None.
  """
  blank = jnp.zeros((1, *recipe.image_shape), jnp.float32)
  variables = recipe.module.init(random_keys(recipe.seed).init, blank, train=False)
  variables = _replaced(variables, start or {})
  params, batch_stats = variables['params'], variables.get('batch_stats', {})
  if recipe.adapt is not None:
    params = recipe.adapt(params, images)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    batch_stats=batch_stats,
    opt_state=recipe.optimizer.init(params),
    metrics=Metrics.empty(),
    bad_step=jnp.full((), -1, jnp.int32),
    # A copy, since donating one buffer twice is an error.
    slow=() if recipe.average is None else jax.tree.map(jnp.copy, _variables(params, batch_stats)),
    rate_factor=jnp.ones(()) if recipe.slowed_optimizer is not None else (),
  )


def _replaced(tree: Any, parts: Any) -> Any:
  """A tree of dictionaries with some of its leaves replaced."""
  if not isinstance(tree, Mapping):
    return parts
  return {key: _replaced(tree[key], parts[key]) if key in parts else tree[key] for key in tree}


def _variables(params: Any, batch_stats: Any) -> dict[str, Any]:
  return {'params': params, 'batch_stats': batch_stats}


def lr_scale(state: TrainState) -> Any:
  """What the learning rates of the schedule are multiplied by, float32 []; 1 without a plateau."""
  return 1.0 if isinstance(state.rate_factor, tuple) else state.rate_factor


def with_lr_scale(state: TrainState, scale: float) -> TrainState:
  """The state of a run with `config.plateau` whose next updates have learning rates so scaled."""
  return dataclasses.replace(state, rate_factor=jnp.full_like(state.rate_factor, scale))


def evaluated_variables(recipe: Recipe, state: TrainState) -> dict[str, Any]:
  """The collections 'params' and 'batch_stats' that the network is to be judged and used with."""
  if recipe.average is not None and recipe.average.evaluated:
    return state.slow
  return _variables(state.params, state.batch_stats)


def make_epoch_order(recipe: Recipe) -> Callable[[jax.Array], jax.Array]:
  """Returns `order(epoch) -> int32 [steps * batch_size]`: the examples in the epoch's order.

  The permutation is cut or filled to whole batches; what fills it is masked by the step.
  """
  order_key = random_keys(recipe.seed).order
  length = recipe.steps_per_epoch * recipe.batch_size

  def order(epoch: jax.Array) -> jax.Array:
    permutation = jax.random.permutation(jax.random.fold_in(order_key, epoch), recipe.examples)
    return jnp.resize(permutation, (length,)).astype(jnp.int32)

  return order


def make_train_step(
  recipe: Recipe, data_parallel: DataParallel = WHOLE
) -> Callable[[TrainState, Batch], tuple[TrainState, StepMetrics]]:
  """Builds the update, `train_step(state, batch) -> (state, report)`.

  Args:
    recipe: of the run; the state must be of the same one.
    division: of a batch among devices. Whatever looks at the whole batch, as augmentation does,
      comes before each device takes its own rows.
  """
  step_key = random_keys(recipe.seed).step

  def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, StepMetrics]:
    augment_key, dropout_key = jax.random.split(jax.random.fold_in(step_key, state.step))
    epoch, position = state.step // recipe.steps_per_epoch, state.step % recipe.steps_per_epoch
    batch = data_parallel.shard_batch(batch)
    images = recipe.augment(augment_key, batch.images, batch.indices, epoch)
    target = Target(batch.labels)
    if recipe.mix is not None:
      mixed = recipe.mix(augment_key, images, batch.mask)
      images = mixed.images
      target = Target(batch.labels, batch.labels[mixed.partners], mixed.weight)
    rows = data_parallel.local_shard(Rows(images, target, batch.mask))
    point = state.params
    if recipe.average is not None and recipe.average.gradients_at is not None:
      point = recipe.average.gradients_at(state.slow['params'], state.params)
    gradients, outcome = compute_gradients(
      recipe, data_parallel, point, state.batch_stats, rows, dropout_key
    )
    optimizer = recipe.optimizer
    if recipe.slowed_optimizer is not None:
      optimizer = recipe.slowed_optimizer(state.rate_factor)
    updates, opt_state = optimizer.update(gradients, state.opt_state, point)
    params, batch_stats = optax.apply_updates(state.params, updates), outcome.batch_stats
    slow = state.slow
    if recipe.average is not None:
      slow, fast = recipe.average.update(state.step + 1, slow, _variables(params, batch_stats))
      params, batch_stats = fast['params'], fast['batch_stats']

    first_of_epoch = position == 0
    metrics = jax.tree.map(
      lambda total, empty: jnp.where(first_of_epoch, empty, total), state.metrics, Metrics.empty()
    ).merge(outcome.metrics)
    # One sum over everything: any NaN or infinity makes it non-finite, before the next loss would
    # show it.
    checked = outcome.metrics.loss.total + sum(jnp.sum(p) for p in jax.tree.leaves(params))
    bad = (state.bad_step < 0) & ~jnp.isfinite(checked)
    state = TrainState(
      step=state.step + 1,
      params=params,
      batch_stats=batch_stats,
      opt_state=opt_state,
      metrics=metrics,
      bad_step=jnp.where(bad, state.step, state.bad_step),
      slow=slow,
      rate_factor=state.rate_factor,
    )
    means = metrics.compute()
    return state, StepMetrics(
      loss=means['loss'], accuracy=means['accuracy'], bad_step=state.bad_step
    )

  return train_step


def make_train_steps(
  recipe: Recipe, count: int = 1, data_parallel: DataParallel = WHOLE
) -> Callable[..., tuple[TrainState, StepMetrics]]:
  """Builds `count` updates on data that is on the device, as one program (`lax.scan`).

  One dispatch of many updates suits devices on which a dispatch is dear.

  Returns:
    `train_steps(state, images, labels, order, masked) -> (state, report)`, where images uint8 [N,
    H, W, C] and labels int32 [N] are the whole training set, order is that of the epoch, and the
    static `masked` is True for the one short batch at the end of an epoch.
  """
  train_step = make_train_step(recipe, data_parallel)
  size, padded = recipe.batch_size, recipe.padded_batch_size

  def next_step(
    state: TrainState, images: Images, labels: Labels, order: jax.Array, masked: bool
  ) -> tuple[TrainState, StepMetrics]:
    start = state.step % recipe.steps_per_epoch * size
    indices = jax.lax.dynamic_slice(order, (start,), (size,))
    mask = start + jnp.arange(size) < recipe.examples if masked else None
    if padded > size:
      mask = jnp.ones(size, bool) if mask is None else mask
      indices, mask = (jnp.pad(rows, (0, padded - size)) for rows in (indices, mask))
    indices, mask = data_parallel.shard_batch((indices, mask))
    return train_step(state, Batch(images[indices], labels[indices], indices, mask))

  if count == 1:
    return next_step

  def train_steps(
    state: TrainState, images: Images, labels: Labels, order: jax.Array, masked: bool
  ) -> tuple[TrainState, StepMetrics]:
    def body(carry: TrainState, _: None) -> tuple[TrainState, StepMetrics]:
      return next_step(carry, images, labels, order, masked)

    state, reports = jax.lax.scan(body, state, None, length=count)
    return state, jax.tree.map(lambda values: values[-1], reports)

  return train_steps


def make_evaluate_batch(
  recipe: Recipe, data_parallel: DataParallel = WHOLE
) -> Callable[[Any, Any, Batch, Metrics], Metrics]:
  """Builds `evaluate_batch(params, batch_stats, batch, metrics) -> metrics`: the sums of the rows
  that count are added.
  """

  def evaluate_batch(params: Any, batch_stats: Any, batch: Batch, metrics: Metrics) -> Metrics:
    variables = {'params': params, 'batch_stats': batch_stats}

    def predict(images: jax.Array) -> jax.Array:
      return models.apply(recipe.module, variables, images, train=False, mask=batch.mask)

    logits = mean_logits(predict, recipe.normalize(batch.images), recipe.tta)
    update = batch_metrics(recipe.loss(logits, batch.labels), logits, batch.labels, batch.mask)
    return metrics.merge(total_metrics(data_parallel, update))

  return evaluate_batch


def make_eval_step(
  recipe: Recipe, batch_size: int, data_parallel: DataParallel = WHOLE
) -> Callable[..., tuple[Metrics, jax.Array]]:
  """Builds `eval_step(params, batch_stats, images, labels, start, metrics) -> (metrics, start)`.

  Examples start .. start + batch_size - 1 are added to the metrics; those past the end of the set
  are masked, so every example counts exactly once whatever the batch size. `start` stays on the
  device: no host work a batch.
  """
  evaluate_batch = make_evaluate_batch(recipe, data_parallel)

  def eval_step(
    params: Any,
    batch_stats: Any,
    images: Images,
    labels: Labels,
    start: jax.Array,
    metrics: Metrics,
  ) -> tuple[Metrics, jax.Array]:
    indices = start + jnp.arange(batch_size)
    mask = indices < len(labels)
    indices = jnp.minimum(indices, len(labels) - 1)
    indices, mask = data_parallel.local_shard(data_parallel.shard_batch((indices, mask)))
    batch_images, batch_labels = data_parallel.shard_batch((images[indices], labels[indices]))
    batch = Batch(batch_images, batch_labels, indices, mask)
    return evaluate_batch(params, batch_stats, batch, metrics), start + batch_size

  return eval_step
