"""Batches that the host makes, for examples that do not live on the devices: the same as those that
the steps would pick there, each process's rows read by that process alone.
"""

import queue
from collections.abc import Iterator

import jax
import numpy as np
from jax.sharding import Mesh

from cifar_jax.data import Examples
from cifar_jax.devices import sharding
from cifar_jax.training import sampling, steps
from cifar_jax.training.evaluation import evaluation_rows
from cifar_jax.training.recipe import Recipe


def train_batches(
  recipe: Recipe, seed: int, split: Examples, mesh: Mesh, first_step: int, total_steps: int
) -> Iterator[steps.Batch]:
  """The batches of updates first_step .. total_steps - 1, each spread over the mesh."""
  # On this process's own device: a program of all processes must not be started by a thread.
  keys, order_of = steps.random_keys(seed), jax.jit(sampling.make_epoch_order(recipe))
  size, per_epoch = recipe.batch_size, recipe.steps_per_epoch

  def rows_and_masks() -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    for step in range(first_step, total_steps):
      epoch, position = divmod(step, per_epoch)
      if step == first_step or position == 0:
        order = np.asarray(order_of(keys, np.int32(epoch)))
      start = position * size
      masked = recipe.short_last_batch and position == per_epoch - 1
      yield steps.fill_batch(recipe, order[start : start + size], start, masked)

  yield from _global_batches(split, mesh, rows_and_masks())


def evaluation_batches(
  split: Examples, mesh: Mesh, size: int, chosen: np.ndarray | None = None
) -> Iterator[steps.Batch]:
  """Every example of a split once, or of the `chosen` indices of it, in batches of `size`, the last
  one filled and masked.
  """
  examples = len(split if chosen is None else chosen)
  starts = range(0, examples, size)
  rows_and_masks = (evaluation_rows(start, size, examples, chosen) for start in starts)
  yield from _global_batches(split, mesh, rows_and_masks)


def _global_batches(
  split: Examples, mesh: Mesh, rows_and_masks: Iterator[tuple[np.ndarray, np.ndarray | None]]
) -> Iterator[steps.Batch]:
  """Reads the rows of this process's devices and makes batches of all processes of them."""
  waiting: queue.SimpleQueue[tuple[np.ndarray, np.ndarray | None]] = queue.SimpleQueue()

  # May run ahead of the batches, as a stream's readers do.
  def rows_to_read() -> Iterator[np.ndarray]:
    for rows, mask in rows_and_masks:
      own = sharding.process_rows(rows, mesh)
      waiting.put((own, None if mask is None else sharding.process_rows(mask, mesh)))
      yield own

  for images in split.batches(rows_to_read()):
    rows, mask = waiting.get()
    yield steps.Batch(*sharding.global_rows((images, split.labels[rows], rows, mask), mesh))
