"""The gradients of one update: of the mean loss over a batch, whole or in parts, at the weights or
near them.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from cifar_jax import models
from cifar_jax.layers.batch_axis import DataParallel
from cifar_jax.training.losses import Target
from cifar_jax.training.metrics import Metrics, batch_metrics
from cifar_jax.training.recipe import Recipe


@struct.dataclass
class Rows:
  """What gradients are taken over.

  Attributes:
    images: float32 [B, H, W, C].
    target: of [B] rows.
    mask: bool [B], False for rows that only fill the batch; None where all rows count.
  """

  images: jax.Array
  target: Target
  mask: jax.Array | None


@struct.dataclass
class Outcome:
  """What one pass through the network leaves beside the gradients."""

  metrics: Metrics
  batch_stats: Any


def compute_gradients(
  recipe: Recipe,
  data_parallel: DataParallel,
  params: Any,
  batch_stats: Any,
  rows: Rows,
  dropout_key: jax.Array,
) -> tuple[Any, Outcome]:
  """Gradients of the mean loss over the rows that count, a tree like `params`.

  With `recipe.sharpness_radius` r they are those at params + r g / |g|, where g are the gradients
  at params and |g| is the norm of all of them: sharpness-aware minimisation (Foret et al., 2021).
  The outcome is that of the pass at `params`.

  Args:
    recipe: of the run.
    division: of a batch among devices.
    params: float32 tree.
    batch_stats: moving statistics before.
    rows: those of this device; what is returned is that of all devices.
    dropout_key: of this step.
  """
  gradients, outcome = _in_parts(recipe, data_parallel, params, batch_stats, rows, dropout_key)
  if recipe.sharpness_radius:
    factor = recipe.sharpness_radius / jnp.maximum(optax.tree.norm(gradients), 1e-12)
    climbed = jax.tree.map(lambda p, g: p + factor * g, params, gradients)
    gradients, _ = _in_parts(recipe, data_parallel, climbed, batch_stats, rows, dropout_key)
  return gradients, outcome


def total_metrics(data_parallel: DataParallel, metrics: Metrics) -> Metrics:
  """The sums over all devices of those of each."""
  return metrics.replace(
    loss=data_parallel.psum(metrics.loss), accuracy=data_parallel.psum(metrics.accuracy)
  )


def _in_parts(
  recipe: Recipe,
  data_parallel: DataParallel,
  params: Any,
  batch_stats: Any,
  rows: Rows,
  dropout_key: jax.Array,
) -> tuple[Any, Outcome]:
  """Takes `recipe.gradient_accumulation` parts of the rows one after another and adds them up."""
  parts, batch = recipe.gradient_accumulation, len(rows.images)
  counted: Any = batch * data_parallel.parts
  if rows.mask is not None:
    counted = data_parallel.psum(jnp.sum(rows.mask))

  def share(
    rows: Rows, batch_stats: Any, dropout_key: jax.Array
  ) -> tuple[Any, tuple[Metrics, Any]]:
    return _share(recipe, data_parallel, params, batch_stats, rows, dropout_key, counted)

  if parts == 1:
    shares, (metrics, batch_stats) = share(rows, batch_stats, dropout_key)
    return data_parallel.psum(shares), Outcome(total_metrics(data_parallel, metrics), batch_stats)

  # Every so many-th row makes a part: padding, which comes last, is shared evenly, and rows stay on
  # their devices.
  split = jax.tree.map(
    lambda array: array.reshape(batch // parts, parts, *array.shape[1:]).swapaxes(0, 1), rows
  )

  def add(carry: tuple[Any, Metrics, Any], part: tuple[Rows, jax.Array]) -> tuple[Any, None]:
    total, metrics, before = carry
    rows, key = part
    shares, (of_part, after) = share(rows, before, key)
    if rows.mask is not None:  # a part of padding alone has no statistics
      some = data_parallel.psum(jnp.sum(rows.mask)) > 0
      after = jax.tree.map(lambda new, old: jnp.where(some, new, old), after, before)
    return (jax.tree.map(jnp.add, total, shares), metrics.merge(of_part), after), None

  nothing = jax.tree.map(jnp.zeros_like, params), Metrics.empty(), batch_stats
  keys = jax.random.split(dropout_key, parts)
  # XLA:CPU computes a loop's body many times slower than the same operations outside of it.
  unrolled = parts if jax.default_backend() == 'cpu' else 1
  (shares, metrics, batch_stats), _ = jax.lax.scan(add, nothing, (split, keys), unroll=unrolled)
  return data_parallel.psum(shares), Outcome(total_metrics(data_parallel, metrics), batch_stats)


def _share(
  recipe: Recipe,
  data_parallel: DataParallel,
  params: Any,
  batch_stats: Any,
  rows: Rows,
  dropout_key: jax.Array,
  counted: Any,
) -> tuple[Any, tuple[Metrics, Any]]:
  """What these rows contribute: gradients of their part of the mean loss and of the penalty, sums
  of metrics; and the moving statistics after them.
  """
  minimized = recipe.loss if recipe.training_loss is None else recipe.training_loss

  def share_of_mean_loss(params: Any) -> tuple[jax.Array, tuple[jax.Array, jax.Array, Any]]:
    with data_parallel.batch_axis_context(recipe.ghost_rows):
      logits, updated = models.apply(
        recipe.module,
        {'params': params, 'batch_stats': batch_stats},
        rows.images,
        train=True,
        mask=rows.mask,
        rngs={'dropout': dropout_key},
        mutable=['batch_stats'],
      )
    losses = rows.target.losses(minimized, logits)
    share = jnp.sum(losses if rows.mask is None else losses * rows.mask) / counted
    if recipe.penalty is not None:
      share += recipe.penalty(params) / (recipe.gradient_accumulation * data_parallel.parts)
    if minimized is not recipe.loss:
      losses = rows.target.losses(recipe.loss, jax.lax.stop_gradient(logits))
    return share, (losses, logits, updated.get('batch_stats', {}))

  shares, (losses, logits, updated) = jax.grad(share_of_mean_loss, has_aux=True)(params)
  metrics = batch_metrics(losses, logits, rows.target.main(), rows.mask)
  return shares, (metrics, data_parallel.pmean(updated))
