"""The training step as a pure function: no input or output, no devices.

Everything random is a function of (seed, step), so the state of the data iterator is the step
number:

* the order of epoch e comes from `fold_in(order key, e)`;
* augmentation and dropout of step s come from `fold_in(step key, s)`;
* what belongs to example i throughout the run comes from `fold_in(example key, i)`.

A run may therefore stop after any step and continue with the same batches, on any number of
devices.
The keys are arguments, so that one program serves every seed.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from flax.traverse_util import flatten_dict, unflatten_dict

from cifar_jax.layers.batch_axis import DataParallel
from cifar_jax.training.gradients import AugmentedBatch, compute_gradients
from cifar_jax.training.losses import Metrics, MixedLabels
from cifar_jax.training.recipe import Recipe
from cifar_jax.utils.array_types import Images, Labels, Pixels, StoredImages

WHOLE = DataParallel()  # all rows on one device


@struct.dataclass
class TrainState:
  """All that a run carries from step to step; a checkpoint holds exactly this.

  Checkpoints of format 1 had `averaged` under the name `slow`. Where `config.plateau` lowers the
  learning rate, they had what is now `opt_state.inner_state` as `opt_state` itself, what is now
  `opt_state.hyperparams['lr_scale']` as `rate_factor`, float32 [], and no `opt_state.count`, int32
  [], which equals `step`. All other arrays have kept their places.

  Attributes:
    step: int32 [], the number of updates made so far.
    params: The float32 tree of trainable arrays.
    batch_stats: The float32 tree of running statistics; empty without BatchNorm.
    opt_state: The Optax state; where `config.plateau` lowers the learning rate, with the
      hyperparameter `lr_scale`.
    metrics: Sums over the epoch that is under way, so that its averages survive an interruption.
    bad_step: int32 [], the first step whose loss or updated parameters were not finite; -1 while
      all are.
    averaged: The averages that `config.weight_averaging` keeps, a dictionary of 'params' and
      'batch_stats'; () without it.
  """

  step: jax.Array
  params: Any
  batch_stats: Any
  opt_state: Any
  metrics: Metrics
  bad_step: jax.Array
  averaged: Any = ()


@struct.dataclass
class Batch:
  """The examples of one update.

  Attributes:
    images: uint8 [B, H, W, C].
    labels: int32 [B], or uint8 [B, classes].
    indices: int32 [B], their indices in the training set.
    mask: bool [B], False for rows that only fill the batch; None where all rows count.
  """

  images: jax.Array
  labels: jax.Array
  indices: jax.Array
  mask: jax.Array | None


@struct.dataclass
class StepMetrics:
  """What the host may read after a step, all scalars: averages of the epoch so far, and
  `TrainState.bad_step`.
  """

  loss: jax.Array
  accuracy: jax.Array
  bad_step: jax.Array


@struct.dataclass
class RandomKeys:
  """The root keys of a run.

  Attributes:
    init: The key of the initial parameters.
    order: The key of the examples' order in each epoch.
    step: The key of what a step draws.
    example: The key of what belongs to an example throughout the run.
  """

  init: jax.Array
  order: jax.Array
  step: jax.Array
  example: jax.Array


def random_keys(seed: int | jax.Array, generator: str = 'threefry') -> RandomKeys:
  """The root keys of a run, all from its seed.

  Args:
    seed: A number or an array, uint32 [].
    generator: What makes the numbers that a step draws. 'threefry': the same everywhere; 'rbg': an
      instruction of TPUs, with different numbers on each platform. Parameters, order and what
      belongs to an example are the same with both.
  """
  init, order, step, example = jax.random.split(jax.random.key(seed), 4)
  if generator == 'rbg':
    step = jax.random.wrap_key_data(jax.random.bits(step, (4,)), impl='rbg')
  return RandomKeys(init, order, step, example)


def init_state(
  recipe: Recipe, keys: RandomKeys, images: Any = None, start: Any = None
) -> TrainState:
  """The state before the first update.

  Args:
    images: What `recipe.data_dependent_init` uses, uint8 [N, H, W, C].
    start: Variables that take the place of random ones, a part of the module's tree; or None.
  """
  blank = jnp.zeros((1, *recipe.image_shape), jnp.float32)
  drawn = recipe.module.init(keys.init, blank, train=False)
  variables = unflatten_dict(flatten_dict(drawn) | flatten_dict(start or {}))
  params, batch_stats = variables['params'], variables.get('batch_stats', {})
  if recipe.data_dependent_init is not None:
    params = recipe.data_dependent_init(params, images)
  averaged = ()
  if recipe.average is not None:  # a copy, since donating one buffer twice is an error
    averaged = jax.tree.map(jnp.copy, {'params': params, 'batch_stats': batch_stats})
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    batch_stats=batch_stats,
    opt_state=recipe.optimizer.init(params),
    metrics=Metrics.empty(),
    bad_step=jnp.full((), -1, jnp.int32),
    averaged=averaged,
  )


def abstract_state(state: Any, sharding: jax.sharding.Sharding) -> Any:
  """The shapes and dtypes of `state`, each to be placed with `sharding`: what to restore."""
  return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), state)


def variables(state: TrainState) -> dict[str, Any]:
  """The collections 'params' and 'batch_stats' that the network is trained with."""
  return {'params': state.params, 'batch_stats': state.batch_stats}


def evaluated_variables(recipe: Recipe, state: TrainState) -> dict[str, Any]:
  """The collections 'params' and 'batch_stats' that the network is to be judged and used with."""
  if recipe.average is not None and recipe.average.evaluated:
    return state.averaged
  return variables(state)


def lr_scale(state: TrainState) -> Any:
  """What the learning rate is multiplied by, float32 []; 1.0 where the run never lowers it."""
  return getattr(state.opt_state, 'hyperparams', {}).get('lr_scale', 1.0)


def with_lr_scale(state: TrainState, scale: float) -> TrainState:
  """The state of a run whose learning rate `config.plateau` lowers, with another `lr_scale`."""
  array = jnp.full_like(lr_scale(state), scale)
  opt_state = state.opt_state._replace(hyperparams={'lr_scale': array})
  return state.replace(opt_state=opt_state)  # type: ignore[attr-defined]


def _key_of_step(keys: RandomKeys, step: jax.Array) -> jax.Array:
  """The key of all that a step draws.

  Of 'rbg' it is derived by threefry; what is derived from it, for each layer and augmentation, is
  made by the hardware's generator as well. JAX calls that 'unsafe_rbg', since nobody studied it as
  a hash; here it tells a handful of keys of one step from each other.
  """
  key = jax.random.fold_in(keys.step, step)
  if jax.random.key_impl(key) != 'rbg':
    return key
  return jax.random.wrap_key_data(jax.random.key_data(key), impl='unsafe_rbg')


def make_train_step(
  recipe: Recipe, data_parallel: DataParallel = WHOLE
) -> Callable[[RandomKeys, TrainState, Batch], tuple[TrainState, StepMetrics]]:
  """Builds the update, `train_step(keys, state, batch) -> (state, metrics)`.

  Args:
    data_parallel: How the batch is divided among devices. Whatever needs the whole batch, such as
      augmentation, comes before each device takes its own rows.
  """

  def train_step(
    keys: RandomKeys, state: TrainState, batch: Batch
  ) -> tuple[TrainState, StepMetrics]:
    augment_key, dropout_key = jax.random.split(_key_of_step(keys, state.step))
    epoch, position = state.step // recipe.steps_per_epoch, state.step % recipe.steps_per_epoch
    batch = data_parallel.shard_batch(batch)
    images = recipe.augment(augment_key, keys.example, batch.images, batch.indices, epoch)
    labels = MixedLabels(batch.labels)
    if recipe.mix is not None:
      mixed = recipe.mix(augment_key, images, batch.mask)
      images = mixed.images
      labels = MixedLabels(batch.labels, batch.labels[mixed.partners], mixed.weight)
    augmented = data_parallel.local_shard(AugmentedBatch(images, labels, batch.mask))
    point = state.params
    if recipe.average is not None and recipe.average.gradients_at is not None:
      point = recipe.average.gradients_at(state.averaged['params'], state.params)
    gradients, aux = compute_gradients(
      recipe, data_parallel, point, state.batch_stats, augmented, dropout_key
    )
    updates, opt_state = recipe.optimizer.update(gradients, state.opt_state, point)
    params, batch_stats = optax.apply_updates(state.params, updates), aux.batch_stats
    averaged = state.averaged
    if recipe.average is not None:
      fast = {'params': params, 'batch_stats': batch_stats}
      averaged, fast = recipe.average.update(state.step + 1, averaged, fast)
      params, batch_stats = fast['params'], fast['batch_stats']

    first_of_epoch = position == 0
    metrics = jax.tree.map(
      lambda total, empty: jnp.where(first_of_epoch, empty, total), state.metrics, Metrics.empty()
    ).merge(aux.metrics)
    # One sum over everything: any NaN or infinity makes it non-finite, before the next loss would
    # show it.
    checked = aux.metrics.loss.total + sum(jnp.sum(p) for p in jax.tree.leaves(params))
    bad = (state.bad_step < 0) & ~jnp.isfinite(checked)
    state = TrainState(
      step=state.step + 1,
      params=params,
      batch_stats=batch_stats,
      opt_state=opt_state,
      metrics=metrics,
      bad_step=jnp.where(bad, state.step, state.bad_step),
      averaged=averaged,
    )
    means = metrics.compute()
    return state, StepMetrics(
      loss=means['loss'], accuracy=means['accuracy'], bad_step=state.bad_step
    )

  return train_step


def fill_batch(recipe: Recipe, indices: Any, start: Any, masked: bool) -> tuple[Any, Any]:
  """Fills a batch to the rows that the devices share, on the host or on a device.

  Args:
    indices: The examples of the batch, int32 [batch_size], of NumPy or of JAX.
    start: The place of the first of them in the epoch's order.
    masked: Whether this is the one short batch at the end of an epoch.

  Returns:
    The indices [padded_batch_size], and a mask, bool of the same shape, or None if all rows count.
  """
  xp = np if isinstance(indices, np.ndarray) else jnp
  filling = recipe.padded_batch_size - recipe.batch_size
  mask = start + xp.arange(len(indices)) < recipe.examples if masked or filling else None
  if filling:
    indices, mask = (xp.pad(rows, (0, filling)) for rows in (indices, mask))
  return indices, mask


def take_images(recipe: Recipe, images: StoredImages, indices: jax.Array) -> Pixels | Images:
  """The images of a data set at some indices."""
  taken = images[indices]
  return taken.reshape(-1, *recipe.image_shape) if taken.ndim == 2 else taken


def make_train_steps(
  recipe: Recipe, count: int = 1, data_parallel: DataParallel = WHOLE
) -> Callable[..., tuple[TrainState, StepMetrics]]:
  """Builds `count` updates on data that is on the device, as one program (`lax.scan`).

  One dispatch of many updates suits devices on which dispatching is slow.

  Returns:
    `train_steps(keys, state, images, labels, order, masked) -> (state, metrics)`, where images
    and labels are the whole training set, order is that of the epoch,
    and the static `masked` is True for the one short batch at the end of an epoch.
  """
  train_step = make_train_step(recipe, data_parallel)

  def next_step(
    keys: RandomKeys,
    state: TrainState,
    images: StoredImages,
    labels: Labels,
    order: jax.Array,
    masked: bool,
  ) -> tuple[TrainState, StepMetrics]:
    start = state.step % recipe.steps_per_epoch * recipe.batch_size
    indices = jax.lax.dynamic_slice(order, (start,), (recipe.batch_size,))
    indices, mask = data_parallel.shard_batch(fill_batch(recipe, indices, start, masked))
    batch = Batch(take_images(recipe, images, indices), labels[indices], indices, mask)
    return train_step(keys, state, batch)

  if count == 1:
    return next_step

  def train_steps(
    keys: RandomKeys,
    state: TrainState,
    images: StoredImages,
    labels: Labels,
    order: jax.Array,
    masked: bool,
  ) -> tuple[TrainState, StepMetrics]:
    def body(carry: TrainState, _: None) -> tuple[TrainState, StepMetrics]:
      return next_step(keys, carry, images, labels, order, masked)

    state, metrics = jax.lax.scan(body, state, None, length=count)
    return state, jax.tree.map(lambda values: values[-1], metrics)

  return train_steps
