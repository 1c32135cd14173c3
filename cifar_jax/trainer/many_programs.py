"""The programs of many runs at once: each is that of one run, mapped over a leading axis of runs.

What a run computes does not depend on the others: all random numbers follow from its own keys, and
a number in which runs differ is taken from a table by the run's index.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cifar_jax.data import Examples, Splits
from cifar_jax.devices import sharding
from cifar_jax.trainer.build import Trainer
from cifar_jax.training import sampling, steps
from cifar_jax.training.evaluation import make_eval_step
from cifar_jax.training.losses import Metrics
from cifar_jax.training.recipe import Recipe
from cifar_jax.training.steps import TrainState, evaluated_variables

Placed = tuple[jax.Array, jax.Array]  # images and labels, perhaps of each run


class ManyPrograms:
  """Compiled at first use; arrays of all runs have a leading axis [R].

  Attributes:
    trainer: That of the first run; its optimizer has the state of all.
    indices: The numbers of the runs, int32 [R].

  Args:
    trainer: As above.
    varied_recipe: Index of a run -> its recipe.
    runs: How many there are.
    own_data: Whether each has training and validation images of its own.
  """

  def __init__(
    self,
    trainer: Trainer,
    varied_recipe: Callable[[jax.Array], Recipe],
    runs: int,
    own_data: bool,
  ):
    self.trainer, self._varied_recipe = trainer, varied_recipe
    self._runs, self._data_axis = runs, 0 if own_data else None
    self.indices = self._replicate(np.arange(runs, dtype=np.int32))

  @functools.cached_property
  def train_steps(self) -> Callable[[int], Callable[..., Any]]:
    """count -> so many updates of each run; arguments as of `steps.make_train_steps`, after the
    indices of the runs.
    """

    @functools.cache
    def train_steps(count: int) -> Callable[..., Any]:
      data_parallel, axis = self.trainer.data_parallel, self._data_axis

      def updates(
        runs: Any, keys: Any, state: Any, images: Any, labels: Any, order: Any, masked: bool
      ) -> tuple[TrainState, steps.StepMetrics]:
        def of_one(run: Any, *arguments: Any) -> tuple[TrainState, steps.StepMetrics]:
          recipe = self._varied_recipe(run)
          return steps.make_train_steps(recipe, count, data_parallel)(*arguments, masked)

        mapped = jax.vmap(of_one, in_axes=(0, 0, 0, axis, axis, 0))
        return mapped(runs, keys, state, images, labels, order)

      return sharding.compile_step(updates, self.trainer.mesh, updates=True)

    return train_steps

  def bytes_needed(self, splits: Splits) -> float:
    """The memory that the compiled updates need on a device, with their arguments, the states that
    are handed out to the runs and the images that these are measured on; infinity if the compiler
    finds that it is too much. JAX keeps the program for the call.

    Args:
      splits: The data of one run.
    """
    trainer, examples = self.trainer, splits.train
    images = sharding.as_stored(examples.images, trainer.mesh)
    keys, number = trainer.abstract_keys(), jax.ShapeDtypeStruct((), np.int32)
    order = jax.eval_shape(trainer.epoch_order, keys, number)
    of_each = [keys, trainer.abstract_state(), order]
    stored = jax.eval_shape(lambda *arrays: arrays, images, examples.labels)
    if self._data_axis is not None:
      of_each, stored = [*of_each, *stored], ()
    keys, state, order, *own = self._abstract(of_each, self._runs)
    stored = own or self._abstract(stored)
    function: Any = self.train_steps(trainer.dispatch_length(0, supports_scan=True))
    lowered = function.lower(self.indices, keys, state, *stored, order, masked=False)
    try:
      found = lowered.compile().memory_analysis()
    except jax.errors.JaxRuntimeError:
      return math.inf
    kept = found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes
    handed_out = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(state))
    copies = 1 if self._data_axis is None else self._runs
    measured_on = copies * splits.validation.images.nbytes
    if not splits.validation_is_test:
      measured_on += splits.test.images.nbytes
    return float(kept + found.temp_size_in_bytes + handed_out + measured_on)

  def _abstract(self, tree: Any, runs: int | None = None) -> Any:
    """The shapes of a tree on every device, with an axis of runs or without."""
    if runs is not None:
      tree = jax.tree.map(lambda x: jax.ShapeDtypeStruct((runs, *x.shape), x.dtype), tree)
    return steps.abstract_state(tree, sharding.replicated(self.trainer.mesh))

  @functools.cached_property
  def epoch_order(self) -> Callable[[steps.RandomKeys, Any], jax.Array]:
    """(keys, epoch) -> the order of the examples of each run."""
    order = sampling.make_epoch_order(self.trainer.recipe)
    return sharding.jit_replicated(jax.vmap(order, in_axes=(0, None)), self.trainer.mesh)

  @functools.cached_property
  def stack(self) -> Callable[[Sequence[Any]], Any]:
    """Trees of all runs -> one tree."""
    return sharding.jit_replicated(
      lambda trees: jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees), self.trainer.mesh
    )

  @functools.cached_property
  def split(self) -> Callable[[Any], list[Any]]:
    """The inverse of `stack`."""

    def split(tree: Any) -> list[Any]:
      return [jax.tree.map(lambda leaf: leaf[run], tree) for run in range(self._runs)]  # noqa: B023

    return sharding.jit_replicated(split, self.trainer.mesh)

  def place(self, splits: Sequence[Examples]) -> Placed:
    """The images and labels of a split on every device: of each run, [R, N, ...], or those of the
    first, as `place_once` says, if all have the same.
    """
    if self._data_axis is None:
      return self.place_once(splits[0])
    images = [sharding.as_stored(split.images, self.trainer.mesh) for split in splits]
    return self._replicate((np.stack(images), np.stack([split.labels for split in splits])))

  def place_once(self, split: Examples) -> Placed:
    """The images and labels, [N, ...], of a split of all runs on every device."""
    return self._replicate((sharding.as_stored(split.images, self.trainer.mesh), split.labels))

  def evaluate(self, state: TrainState, placed: Placed) -> list[dict[str, float]]:
    """The exact mean loss and accuracy of each run over a split, its own or one for all."""
    evaluate, recipe = self.trainer.evaluate, self.trainer.recipe
    data_axis = 0 if placed[1].ndim > 1 else None
    if evaluate.selective:  # each run looks again at images of its own
      parts = [placed] * self._runs if data_axis is None else list(zip(*placed, strict=True))
      states = self.split(state)
      return [evaluate(one, part) for one, part in zip(states, parts, strict=True)]
    variables = evaluated_variables(recipe, state)
    collections = variables['params'], variables['batch_stats']
    zeros = jax.tree.map(lambda zero: np.zeros(self._runs, zero.dtype), Metrics.empty())
    metrics, start = self._replicate((zeros, np.zeros((), np.int32)))
    for _ in range(0, placed[1].shape[-1], evaluate.batch_size):
      metrics, start = self._eval_step(data_axis)(*collections, *placed, start, metrics)
    sums = jax.device_get(metrics)
    of_runs = [jax.tree.map(lambda total: total[run], sums) for run in range(self._runs)]  # noqa: B023
    return [{name: float(mean) for name, mean in one.compute().items()} for one in of_runs]

  @functools.cached_property
  def _eval_step(self) -> Callable[[int | None], Callable[..., Any]]:
    """Axis of runs in the images and labels -> one batch of each run."""
    trainer = self.trainer
    step = make_eval_step(trainer.recipe, trainer.evaluate.batch_size, trainer.data_parallel)

    @functools.cache
    def eval_step(axis: int | None) -> Callable[..., Any]:
      mapped = jax.vmap(step, in_axes=(0, 0, axis, axis, None, 0), out_axes=(0, None))
      return sharding.compile_step(mapped, trainer.mesh)

    return eval_step

  def _replicate(self, tree: Any) -> Any:
    return sharding.replicate(tree, self.trainer.mesh)
