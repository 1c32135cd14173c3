"""The gradients of one update: of the mean loss over a batch, whole or in parts, at the weights or
near them.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from cifar_jax import models
from cifar_jax.layers.batch_axis import DataParallel, batch_axis_context
from cifar_jax.ops.dispatch import target_platform
from cifar_jax.training.losses import Metrics, MixedLabels, batch_metrics
from cifar_jax.training.recipe import Recipe


@struct.dataclass
class AugmentedBatch:
  """A batch as the network is trained on it.

  Attributes:
    images: float32 [B, H, W, C], augmented and normalized.
    labels: The labels of the B rows.
    mask: bool [B], False for rows that only fill the batch; None where all rows count.
  """

  images: jax.Array
  labels: MixedLabels
  mask: jax.Array | None


@struct.dataclass
class StepAux:
  """What one pass through the network leaves beside the gradients.

  Attributes:
    metrics: The sums over the rows that count.
    batch_stats: The running statistics after the pass.
  """

  metrics: Metrics
  batch_stats: Any


def compute_gradients(
  recipe: Recipe,
  data_parallel: DataParallel,
  params: Any,
  batch_stats: Any,
  batch: AugmentedBatch,
  dropout_key: jax.Array,
) -> tuple[Any, StepAux]:
  """Returns the gradients of the mean loss over the rows that count, a tree like `params`.

  With `recipe.sam_rho` r they are those at params + r g / |g|, where g are the gradients
  at params and |g| is the norm of all of them: sharpness-aware minimization (Foret et al., 2021).
  The rest of the result is that of the pass at `params`.

  Args:
    batch: The rows of this device; what is returned is that of all devices.
  """
  gradients, aux = _in_parts(recipe, data_parallel, params, batch_stats, batch, dropout_key)
  if recipe.sam_rho:
    factor = recipe.sam_rho / jnp.maximum(optax.tree.norm(gradients), 1e-12)
    climbed = jax.tree.map(lambda p, g: p + factor * g, params, gradients)
    gradients, _ = _in_parts(recipe, data_parallel, climbed, batch_stats, batch, dropout_key)
  return gradients, aux


def total_metrics(data_parallel: DataParallel, metrics: Metrics) -> Metrics:
  """Adds up the sums of all devices."""
  return metrics.replace(
    loss=data_parallel.psum(metrics.loss), accuracy=data_parallel.psum(metrics.accuracy)
  )


def _in_parts(
  recipe: Recipe,
  data_parallel: DataParallel,
  params: Any,
  batch_stats: Any,
  batch: AugmentedBatch,
  dropout_key: jax.Array,
) -> tuple[Any, StepAux]:
  """Takes `recipe.grad_accum_steps` parts of the batch one after another and adds them up."""
  parts, rows = recipe.grad_accum_steps, len(batch.images)
  counted = data_parallel.psum(rows if batch.mask is None else jnp.sum(batch.mask))

  def share(
    batch: AugmentedBatch, batch_stats: Any, dropout_key: jax.Array
  ) -> tuple[Any, tuple[Metrics, Any]]:
    return _share(recipe, data_parallel, params, batch_stats, batch, dropout_key, counted)

  if parts == 1:
    shares, (metrics, batch_stats) = share(batch, batch_stats, dropout_key)
    return data_parallel.psum(shares), StepAux(total_metrics(data_parallel, metrics), batch_stats)

  # Every so many-th row makes a part: padding, which comes last, is shared evenly, and rows stay on
  # their devices.
  split = jax.tree.map(
    lambda array: array.reshape(rows // parts, parts, *array.shape[1:]).swapaxes(0, 1), batch
  )

  def add(
    carry: tuple[Any, Metrics, Any], part: tuple[AugmentedBatch, jax.Array]
  ) -> tuple[Any, None]:
    total, metrics, before = carry
    batch, key = part
    shares, (of_part, after) = share(batch, before, key)
    if batch.mask is not None:  # a part of padding alone has no statistics
      some = data_parallel.psum(jnp.sum(batch.mask)) > 0
      after = jax.tree.map(lambda new, old: jnp.where(some, new, old), after, before)
    return (jax.tree.map(jnp.add, total, shares), metrics.merge(of_part), after), None

  nothing = jax.tree.map(jnp.zeros_like, params), Metrics.empty(), batch_stats
  keys = jax.random.split(dropout_key, parts)
  # XLA:CPU computes a loop's body many times slower than the same operations outside of it.
  unrolled = parts if target_platform() == 'cpu' else 1
  (shares, metrics, batch_stats), _ = jax.lax.scan(add, nothing, (split, keys), unroll=unrolled)
  return data_parallel.psum(shares), StepAux(total_metrics(data_parallel, metrics), batch_stats)


def _share(
  recipe: Recipe,
  data_parallel: DataParallel,
  params: Any,
  batch_stats: Any,
  batch: AugmentedBatch,
  dropout_key: jax.Array,
  counted: Any,
) -> tuple[Any, tuple[Metrics, Any]]:
  """What these rows contribute: gradients of their part of the mean loss and of the penalty, sums
  of metrics; and the running statistics after them.
  """
  minimized = recipe.loss if recipe.training_loss is None else recipe.training_loss

  def share_of_mean_loss(params: Any) -> tuple[jax.Array, tuple[jax.Array, jax.Array, Any]]:
    with batch_axis_context(data_parallel.batch_axis(recipe.ghost_batch_size)):
      logits, updated = models.apply(
        recipe.module,
        {'params': params, 'batch_stats': batch_stats},
        batch.images,
        train=True,
        mask=batch.mask,
        rngs={'dropout': dropout_key},
        mutable=['batch_stats'],
      )
    losses = batch.labels.losses(minimized, logits)
    share = jnp.sum(losses if batch.mask is None else losses * batch.mask) / counted
    if recipe.penalty is not None:  # once in all parts on all devices
      share += recipe.penalty(params) / (recipe.grad_accum_steps * data_parallel.psum(1))
    if minimized is not recipe.loss:
      losses = batch.labels.losses(recipe.loss, jax.lax.stop_gradient(logits))
    return share, (losses, logits, updated.get('batch_stats', {}))

  shares, (losses, logits, updated) = jax.grad(share_of_mean_loss, has_aux=True)(params)
  correct = recipe.task.correct(logits, batch.labels.main())
  metrics = batch_metrics(losses, correct, batch.mask)
  return shares, (metrics, data_parallel.pmean(updated))
