"""The evaluation step as a pure function: every example of a set counts exactly once."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cifar_jax import models
from cifar_jax.layers.batch_axis import DataParallel
from cifar_jax.training.gradients import total_metrics
from cifar_jax.training.losses import Metrics, batch_metrics
from cifar_jax.training.recipe import Recipe
from cifar_jax.training.steps import WHOLE, Batch, take_images
from cifar_jax.training.tta import mean_logits
from cifar_jax.utils.array_types import Labels, StoredImages


def evaluation_rows(start: Any, size: int, examples: int) -> tuple[Any, Any]:
  """The indices start .. start + size - 1, the last one repeated past the end of the set, int32
  [size], and which of them count, bool [size]; on a device if `start` is there.
  """
  xp = jnp if isinstance(start, jax.Array) else np
  indices = start + xp.arange(size, dtype=np.int32)
  return xp.minimum(indices, examples - 1), indices < examples


def make_evaluate_batch(
  recipe: Recipe, data_parallel: DataParallel = WHOLE
) -> Callable[[Any, Any, Batch, Metrics], Metrics]:
  """Builds `evaluate_batch(params, batch_stats, batch, metrics) -> metrics`, which adds the sums of
  the rows that count.
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
  device: no host work per batch.
  """
  evaluate_batch = make_evaluate_batch(recipe, data_parallel)

  def eval_step(
    params: Any,
    batch_stats: Any,
    images: StoredImages,
    labels: Labels,
    start: jax.Array,
    metrics: Metrics,
  ) -> tuple[Metrics, jax.Array]:
    rows = evaluation_rows(start, batch_size, len(labels))
    indices, mask = data_parallel.local_shard(data_parallel.shard_batch(rows))
    batch_images, batch_labels = data_parallel.shard_batch(
      (take_images(recipe, images, indices), labels[indices])
    )
    batch = Batch(batch_images, batch_labels, indices, mask)
    return evaluate_batch(params, batch_stats, batch, metrics), start + batch_size

  return eval_step
