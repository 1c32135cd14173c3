"""The evaluation step as a pure function: every example of a set counts exactly once."""

from collections.abc import Callable
from typing import Any, NamedTuple

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
from cifar_jax.utils.array_types import Labels, Logits, PerExample, StoredImages


class Outcomes(NamedTuple):
  """What the network makes of each example, float32 [B].

  Attributes:
    losses: As `Recipe.loss` gives them.
    correct: 1 or 0.
    confidences: The probability of the class that it predicts.
  """

  losses: PerExample
  correct: PerExample
  confidences: PerExample


def evaluation_rows(start: Any, size: int, examples: int, chosen: Any = None) -> tuple[Any, Any]:
  """The indices start .. start + size - 1, the last one repeated past the end of the set, int32
  [size], and which of them count, bool [size]; on a device if `start` is there.

  Args:
    chosen: The set as indices of another one, int32 [examples]; None: all of that.
  """
  xp = jnp if isinstance(start, jax.Array) else np
  indices = start + xp.arange(size, dtype=np.int32)
  rows, counted = xp.minimum(indices, examples - 1), indices < examples
  return (rows if chosen is None else chosen[rows]), counted


def _logits(recipe: Recipe, tta: str, params: Any, batch_stats: Any, batch: Batch) -> Logits:
  """The logits of a batch, averaged over the views `tta`."""
  variables = {'params': params, 'batch_stats': batch_stats}

  def predict(images: jax.Array) -> jax.Array:
    return models.apply(recipe.module, variables, images, train=False, mask=batch.mask)

  return mean_logits(predict, recipe.normalize(batch.images), tta)


def make_evaluate_batch(
  recipe: Recipe, data_parallel: DataParallel = WHOLE
) -> Callable[[Any, Any, Batch, Metrics], Metrics]:
  """Builds `evaluate_batch(params, batch_stats, batch, metrics) -> metrics`, which adds the sums of
  the rows that count.
  """

  def evaluate_batch(params: Any, batch_stats: Any, batch: Batch, metrics: Metrics) -> Metrics:
    logits = _logits(recipe, recipe.tta, params, batch_stats, batch)
    correct = recipe.task.correct(logits, batch.labels)
    update = batch_metrics(recipe.loss(logits, batch.labels), correct, batch.mask)
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
    batch = _take(recipe, data_parallel, images, labels, rows)
    return evaluate_batch(params, batch_stats, batch, metrics), start + batch_size

  return eval_step


def make_judge_batch(
  recipe: Recipe, tta: str, data_parallel: DataParallel = WHOLE
) -> Callable[[Any, Any, Batch], Outcomes]:
  """Builds `judge_batch(params, batch_stats, batch) -> outcomes` of all rows, over the views `tta`
  instead of the recipe's.
  """

  def judge_batch(params: Any, batch_stats: Any, batch: Batch) -> Outcomes:
    logits = _logits(recipe, tta, params, batch_stats, batch)
    hits = recipe.task.correct(logits, batch.labels)
    confidences = jax.nn.softmax(logits.astype(jnp.float32)).max(axis=-1)
    outcomes: Outcomes = data_parallel.all_rows(
      Outcomes(recipe.loss(logits, batch.labels), hits, confidences)
    )
    return outcomes

  return judge_batch


def make_judge_step(
  recipe: Recipe, tta: str, batch_size: int, data_parallel: DataParallel = WHOLE
) -> Callable[..., tuple[Outcomes, jax.Array]]:
  """Builds `judge_step(params, batch_stats, images, labels, chosen, start) -> (outcomes, start)`.

  As `make_eval_step` walks through a set, this does through its examples `chosen`, int32 [k], or
  through all where that is None. The last outcome is repeated past the end.
  """
  judge_batch = make_judge_batch(recipe, tta, data_parallel)

  def judge_step(
    params: Any,
    batch_stats: Any,
    images: StoredImages,
    labels: Labels,
    chosen: jax.Array | None,
    start: jax.Array,
  ) -> tuple[Outcomes, jax.Array]:
    examples = len(labels if chosen is None else chosen)
    rows = evaluation_rows(start, batch_size, examples, chosen)
    batch = _take(recipe, data_parallel, images, labels, rows)
    return judge_batch(params, batch_stats, batch), start + batch_size

  return judge_step


def make_logits_batch(
  recipe: Recipe, data_parallel: DataParallel = WHOLE
) -> Callable[[Any, Any, Batch], Logits]:
  """Builds `logits_batch(params, batch_stats, batch) -> logits` of all rows, float32."""

  def logits_batch(params: Any, batch_stats: Any, batch: Batch) -> Logits:
    logits = _logits(recipe, recipe.tta, params, batch_stats, batch).astype(jnp.float32)
    rows: Logits = data_parallel.all_rows(logits)
    return rows

  return logits_batch


def make_logits_step(
  recipe: Recipe, batch_size: int, data_parallel: DataParallel = WHOLE
) -> Callable[..., tuple[jax.Array, jax.Array]]:
  """Builds `logits_step(params, batch_stats, images, labels, start) -> (logits, start)`.

  It walks through a set as `make_eval_step` does; the last row is repeated past the end.
  """
  logits_batch = make_logits_batch(recipe, data_parallel)

  def logits_step(
    params: Any, batch_stats: Any, images: StoredImages, labels: Labels, start: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    rows = evaluation_rows(start, batch_size, len(labels))
    batch = _take(recipe, data_parallel, images, labels, rows)
    return logits_batch(params, batch_stats, batch), start + batch_size

  return logits_step


def _take(
  recipe: Recipe,
  data_parallel: DataParallel,
  images: StoredImages,
  labels: Any,
  rows_and_mask: tuple[Any, Any],
) -> Batch:
  """A batch of a set that is on the devices."""
  indices, mask = data_parallel.local_shard(data_parallel.shard_batch(rows_and_mask))
  batch_images, batch_labels = data_parallel.shard_batch(
    (take_images(recipe, images, indices), labels[indices])
  )
  return Batch(batch_images, batch_labels, indices, mask)
