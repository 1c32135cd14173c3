"""Loss and accuracy of a state over a split: every example counts once."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from cifar_jax.data import Examples, images_per_batch
from cifar_jax.devices import sharding
from cifar_jax.layers.batch_axis import DataParallel
from cifar_jax.trainer.host_batches import evaluation_batches
from cifar_jax.training.evaluation import make_eval_step, make_evaluate_batch
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
    eval_step: One batch of examples that are on the devices, as `make_eval_step` says.
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
    self._batch_size = -(-rows // mesh.size) * mesh.size  # as many on each device
    self._recipe, self._mesh, self._placement = recipe, mesh, placement
    self.eval_step = compile_step(make_eval_step(recipe, self._batch_size, data_parallel), mesh)
    self._evaluate_batch = compile_step(make_evaluate_batch(recipe, data_parallel), mesh)

  def place(self, split: Examples) -> Placed:
    """The split on every device, or as it is where `config.data.placement` keeps it on the host."""
    if self._placement == 'host':
      return split
    return sharding.replicate(
      (sharding.as_stored(split.images, self._mesh), split.labels), self._mesh
    )

  def __call__(self, state: TrainState, placed: Placed) -> dict[str, float]:
    """The exact mean loss and accuracy over a split."""
    variables = evaluated_variables(self._recipe, state)
    collections = variables['params'], variables['batch_stats']
    metrics = sharding.replicate(Metrics.empty(), self._mesh)
    if isinstance(placed, tuple):
      images, labels = placed
      start = sharding.replicate(jnp.zeros((), jnp.int32), self._mesh)
      for _ in range(0, len(labels), self._batch_size):
        metrics, start = self.eval_step(*collections, images, labels, start, metrics)
    else:
      for batch in evaluation_batches(placed, self._mesh, self._batch_size):
        metrics = self._evaluate_batch(*collections, batch, metrics)
    return {name: float(value) for name, value in jax.device_get(metrics).compute().items()}
