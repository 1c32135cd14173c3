"""The training step and the evaluation step as pure functions: no input or output, no devices.

Everything random is a function of (seed, step), so the state of the data iterator is the step
number:

* the order of epoch e comes from `fold_in(order key, e)`;
* augmentation and dropout of step s come from `fold_in(step key, s)`;
* what belongs to example i throughout the run comes from `fold_in(example key, i)`.

A run may therefore stop after any step and go on, on any number of devices, with the same batches.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from cifar_jax import models
from cifar_jax.data.augment import Augmentation
from cifar_jax.metrics import Metrics, batch_metrics
from cifar_jax.optim import Average
from cifar_jax.views import mean_logits

Images = jax.Array  # uint8 [N, H, W, C] in the data set, float32 [B, H, W, C] in a batch
Labels = jax.Array  # int32 [N]
ShardBatch = Callable[[Any], Any]  # spreads a batch over the devices; the identity on one device


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
    slow: the slow copy of (params, batch_stats) that `config.average` keeps; () without it.
  """

  step: jax.Array
  params: Any
  batch_stats: Any
  opt_state: Any
  metrics: Metrics
  bad_step: jax.Array
  slow: Any = ()


@struct.dataclass
class Report:
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


def random_keys(seed: int) -> RandomKeys:
  """The root keys of a run, all from its seed."""
  return RandomKeys(*jax.random.split(jax.random.key(seed), 4))


def steps_per_epoch(examples: int, batch_size: int, last_batch: str) -> int:
  """Updates in one epoch; a short last batch counts if it is kept."""
  return -(-examples // batch_size) if last_batch == 'keep' else examples // batch_size


def init_state(
  module: nn.Module,
  optimizer: optax.GradientTransformation,
  seed: int,
  image_shape: tuple[int, ...],
  adapt: Callable[[Any, Any], Any] | None = None,
  images: Any = None,
  slow_copy: bool = False,
) -> TrainState:
  """The state before the first update.

  Args:
    module: the network.
    optimizer: an Optax chain.
    seed: of the run.
    image_shape: (H, W, C).
    adapt: (params, images) -> params, a part of the initialisation that looks at training images.
    images: for `adapt`, uint8 [N, H, W, C].
    slow_copy: whether the state has one, for `config.average`.
  """
  blank = jnp.zeros((1, *image_shape), jnp.float32)
  variables = module.init(random_keys(seed).init, blank, train=False)
  params, batch_stats = variables['params'], variables.get('batch_stats', {})
  if adapt is not None:
    params = adapt(params, images)
  return TrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    batch_stats=batch_stats,
    opt_state=optimizer.init(params),
    metrics=Metrics.empty(),
    bad_step=jnp.full((), -1, jnp.int32),
    # A copy, since donating one buffer twice is an error.
    slow=jax.tree.map(jnp.copy, (params, batch_stats)) if slow_copy else (),
  )


def make_epoch_order(
  seed: int, examples: int, batch_size: int, last_batch: str
) -> Callable[[jax.Array], jax.Array]:
  """Returns `order(epoch) -> int32 [steps * batch_size]`: the examples in the epoch's order.

  The permutation is cut or filled to whole batches; what fills it is masked by the step.
  """
  order_key = random_keys(seed).order
  length = steps_per_epoch(examples, batch_size, last_batch) * batch_size

  def order(epoch: jax.Array) -> jax.Array:
    permutation = jax.random.permutation(jax.random.fold_in(order_key, epoch), examples)
    return jnp.resize(permutation, (length,)).astype(jnp.int32)

  return order


def make_train_step(
  module: nn.Module,
  optimizer: optax.GradientTransformation,
  loss: Callable[[jax.Array, jax.Array], jax.Array],
  normalize: Callable[[jax.Array], jax.Array],
  augment: Augmentation,
  seed: int,
  examples: int,
  batch_size: int,
  last_batch: str,
  shard_batch: ShardBatch = lambda batch: batch,
  average: Average | None = None,
) -> Callable[..., tuple[TrainState, Report]]:
  """Builds the update.

  Args:
    module: the network, `module(images, train, mask) -> logits`.
    optimizer: an Optax chain, its schedule inside.
    loss: (logits [B, classes], labels [B]) -> float32 [B].
    normalize: uint8 [B, H, W, C] -> float32 of the same shape.
    augment: (key, float32 images, their indices, epoch) -> float32 images.
    seed: of the run.
    examples: in the training set.
    batch_size: over all devices together.
    last_batch: 'keep' or 'drop'.
    shard_batch: spreads a batch over the devices.
    average: what follows each update, or None; the state must have a slow copy for it.

  Returns:
    `train_step(state, images, labels, order, masked) -> (state, report)`, where images uint8 [N, H,
    W, C] and labels int32 [N] are the whole training set, order is that of the epoch, and the
    static `masked` is True for the one short batch at the end of an epoch.
  """
  step_key = random_keys(seed).step
  steps = steps_per_epoch(examples, batch_size, last_batch)

  def train_step(
    state: TrainState, images: Images, labels: Labels, order: jax.Array, masked: bool
  ) -> tuple[TrainState, Report]:
    epoch, position = state.step // steps, state.step % steps
    indices = jax.lax.dynamic_slice(order, (position * batch_size,), (batch_size,))
    mask = None
    if masked:
      mask = position * batch_size + jnp.arange(batch_size) < examples
    indices, mask = shard_batch((indices, mask))
    batch_images, batch_labels = shard_batch((images[indices], labels[indices]))

    augment_key, dropout_key = jax.random.split(jax.random.fold_in(step_key, state.step))
    batch_images = augment(augment_key, normalize(batch_images), indices, epoch)

    def mean_loss(params: Any) -> tuple[jax.Array, tuple[jax.Array, jax.Array, Any]]:
      logits, updated = models.apply(
        module,
        {'params': params, 'batch_stats': state.batch_stats},
        batch_images,
        train=True,
        mask=mask,
        rngs={'dropout': dropout_key},
        mutable=['batch_stats'],
      )
      losses = loss(logits, batch_labels)
      mean = jnp.mean(losses) if mask is None else jnp.sum(losses * mask) / jnp.sum(mask)
      return mean, (losses, logits, updated.get('batch_stats', {}))

    gradients, (losses, logits, batch_stats) = jax.grad(mean_loss, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    slow = state.slow
    if average is not None:
      slow, (params, batch_stats) = average(state.step + 1, slow, (params, batch_stats))

    update = batch_metrics(losses, logits, batch_labels, mask)
    first_of_epoch = position == 0
    metrics = jax.tree.map(
      lambda total, empty: jnp.where(first_of_epoch, empty, total), state.metrics, Metrics.empty()
    ).merge(update)
    # One sum over everything: any NaN or infinity makes it non-finite, before the next loss would
    # show it.
    finite = jnp.isfinite(update.loss.total + sum(jnp.sum(p) for p in jax.tree.leaves(params)))
    bad_step = jnp.where((state.bad_step < 0) & ~finite, state.step, state.bad_step)
    state = TrainState(
      step=state.step + 1,
      params=params,
      batch_stats=batch_stats,
      opt_state=opt_state,
      metrics=metrics,
      bad_step=bad_step,
      slow=slow,
    )
    means = metrics.compute()
    return state, Report(loss=means['loss'], accuracy=means['accuracy'], bad_step=bad_step)

  return train_step


def make_train_steps(
  train_step: Callable[..., tuple[TrainState, Report]], count: int
) -> Callable[..., tuple[TrainState, Report]]:
  """`count` updates as one program (`lax.scan`), for devices on which a dispatch is dear."""
  if count == 1:
    return train_step

  def train_steps(
    state: TrainState, images: Images, labels: Labels, order: jax.Array, masked: bool
  ) -> tuple[TrainState, Report]:
    def body(carry: TrainState, _: None) -> tuple[TrainState, Report]:
      return train_step(carry, images, labels, order, masked)

    state, reports = jax.lax.scan(body, state, None, length=count)
    return state, jax.tree.map(lambda values: values[-1], reports)

  return train_steps


def make_eval_step(
  module: nn.Module,
  loss: Callable[[jax.Array, jax.Array], jax.Array],
  normalize: Callable[[jax.Array], jax.Array],
  batch_size: int,
  shard_batch: ShardBatch = lambda batch: batch,
  tta: str = 'none',
) -> Callable[..., tuple[Metrics, jax.Array]]:
  """Builds `eval_step(params, batch_stats, images, labels, start, metrics) -> (metrics, start)`.

  Examples start .. start + batch_size - 1 are added to the metrics; those past the end of the set
  are masked, so every example counts exactly once whatever the batch size. `start` stays on the
  device: no host work a batch. `tta` names the views of `views.VIEWS` over which the logits of an
  example are averaged.
  """

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
    indices, mask = shard_batch((indices, mask))
    batch_images, batch_labels = shard_batch((images[indices], labels[indices]))
    variables = {'params': params, 'batch_stats': batch_stats}

    def predict(images: jax.Array) -> jax.Array:
      return models.apply(module, variables, images, train=False, mask=mask)

    logits = mean_logits(predict, normalize(batch_images), tta)
    update = batch_metrics(loss(logits, batch_labels), logits, batch_labels, mask)
    return metrics.merge(update), start + batch_size

  return eval_step
