"""Loss and accuracy of a state over a split: every example counts once."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from cifar_jax.data import Examples, images_per_batch
from cifar_jax.devices import sharding
from cifar_jax.layers.batch_axis import DataParallel
from cifar_jax.trainer.host_batches import evaluation_batches
from cifar_jax.training import tta
from cifar_jax.training.evaluation import (
  Outcomes,
  make_eval_step,
  make_evaluate_batch,
  make_judge_batch,
  make_judge_step,
)
from cifar_jax.training.losses import Metrics
from cifar_jax.training.recipe import Recipe
from cifar_jax.training.steps import TrainState, evaluated_variables

# Rows in one evaluation dispatch: large enough to hide the dispatch, small enough for any machine's
# cache.
EVALUATION_BATCH = 512

Placed = tuple[jax.Array, jax.Array] | Examples  # on every device, or with the host


class Evaluator:
  """Measures states; compiled at first use.

  Attributes:
    batch_size: The rows in one dispatch.
    selective: Whether the least confident images alone are seen in all views.
    eval_step: One batch of examples that are on the devices, as `make_eval_step` says.
    judges: The views 'none' and the recipe's -> one batch of them, as `make_judge_step` and
      `make_judge_batch` say.
  """

  def __init__(
    self,
    recipe: Recipe,
    mesh: Mesh,
    data_parallel: DataParallel,
    compile_step: Callable[..., Any],
    placement: str,
  ):
    """Prepares the programs.

    Args:
      compile_step: (step, mesh) -> the compiled step.
      placement: `config.data.placement`.
    """
    rows = images_per_batch(recipe.image_shape, EVALUATION_BATCH)
    self.batch_size = -(-rows // mesh.size) * mesh.size  # as many on each device
    self._recipe, self._mesh, self._placement = recipe, mesh, placement
    self.eval_step = compile_step(make_eval_step(recipe, self.batch_size, data_parallel), mesh)
    self._evaluate_batch = compile_step(make_evaluate_batch(recipe, data_parallel), mesh)
    self.selective = tta.is_selective(recipe.tta, recipe.tta_fraction)
    self.judges = {
      views: (
        compile_step(make_judge_step(recipe, views, self.batch_size, data_parallel), mesh),
        compile_step(make_judge_batch(recipe, views, data_parallel), mesh),
      )
      for views in ('none', recipe.tta)
    }

  def place(self, split: Examples) -> Placed:
    """The split on every device, or as it is where `config.data.placement` keeps it on the host."""
    if self._placement == 'host':
      return split
    return sharding.replicate(
      (sharding.as_stored(split.images, self._mesh), split.labels), self._mesh
    )

  def __call__(self, state: TrainState, placed: Placed) -> dict[str, float]:
    """The exact mean loss and accuracy over a split."""
    return self.of_variables(evaluated_variables(self._recipe, state), placed)

  def of_variables(self, variables: Mapping[str, Any], placed: Placed) -> dict[str, float]:
    """The same, of 'params' and 'batch_stats' on every device, in whatever state they are."""
    collections = variables['params'], variables['batch_stats']
    if self.selective:
      return self._in_two_passes(collections, placed)
    metrics = sharding.replicate(Metrics.empty(), self._mesh)
    if isinstance(placed, tuple):
      images, labels = placed
      start = sharding.replicate(jnp.zeros((), jnp.int32), self._mesh)
      for _ in range(0, len(labels), self.batch_size):
        metrics, start = self.eval_step(*collections, images, labels, start, metrics)
    else:
      for batch in evaluation_batches(placed, self._mesh, self.batch_size):
        metrics = self._evaluate_batch(*collections, batch, metrics)
    return {name: float(value) for name, value in jax.device_get(metrics).compute().items()}

  def _in_two_passes(self, collections: tuple[Any, Any], placed: Placed) -> dict[str, float]:
    """All examples as they are, then the least confident ones again, in all views."""
    losses, correct, confidences = self._judge('none', collections, placed)
    chosen = tta.least_confident(confidences, self._recipe.tta_fraction)
    losses[chosen], correct[chosen], _ = self._judge(self._recipe.tta, collections, placed, chosen)
    means = {'loss': losses.mean(dtype=np.float64), 'accuracy': correct.mean(dtype=np.float64)}
    return {name: float(mean) for name, mean in means.items()}

  def _judge(
    self,
    views: str,
    collections: tuple[Any, Any],
    placed: Placed,
    chosen: np.ndarray | None = None,
  ) -> list[np.ndarray]:
    """The `Outcomes` of all examples or of the chosen ones, with the host, which waits once."""
    judge_step, judge_batch = self.judges[views]
    labels = placed[1] if isinstance(placed, tuple) else placed.labels
    examples = len(labels if chosen is None else chosen)
    parts = [Outcomes(*np.zeros((3, 0), np.float32))]  # there may be no examples
    if isinstance(placed, tuple):
      indices, start = sharding.replicate((chosen, jnp.zeros((), jnp.int32)), self._mesh)
      for _ in range(0, examples, self.batch_size):
        outcomes, start = judge_step(*collections, *placed, indices, start)
        parts.append(outcomes)
    else:
      for batch in evaluation_batches(placed, self._mesh, self.batch_size, chosen):
        parts.append(judge_batch(*collections, batch))
    return [np.concatenate(rows)[:examples] for rows in zip(*jax.device_get(parts), strict=True)]
