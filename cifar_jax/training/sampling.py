"""Which examples an epoch sees, and in which order: as pure functions of a key."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from cifar_jax.training.recipe import Draw, Recipe
from cifar_jax.training.steps import RandomKeys
from cifar_jax.utils.array_types import Step


def make_epoch_order(recipe: Recipe) -> Callable[[RandomKeys, Step], jax.Array]:
  """Returns `order(keys, epoch) -> int32 [steps * batch_size]`: the examples in the epoch's order.

  The permutation is cut or filled to whole batches; what fills it is masked by the step. Where the
  recipe draws examples, there are as many batches.
  """
  length = recipe.steps_per_epoch * recipe.batch_size
  if (draw := recipe.draw) is None:
    return _epoch_order(recipe.examples, length)
  return lambda keys, epoch: draw(jax.random.fold_in(keys.order, epoch), length)


@functools.cache
def _epoch_order(examples: int, length: int) -> Callable[[RandomKeys, Step], jax.Array]:
  """One function for equal numbers, so that JAX traces and compiles it once in a process."""

  def order(keys: RandomKeys, epoch: Step) -> jax.Array:
    permutation = jax.random.permutation(jax.random.fold_in(keys.order, epoch), examples)
    return jnp.resize(permutation, (length,)).astype(jnp.int32)

  return order


def make_balanced_draw(labels: np.ndarray) -> Draw:
  """Draws with replacement: first a class, each of those that occur being equally likely, then an
  example of that class, each equally likely.

  Args:
    labels: The labels of all examples, int32 [N], from 0.
  """
  counts = np.bincount(labels)
  sizes = counts[counts > 0]
  starts = np.cumsum(sizes) - sizes
  by_class = np.argsort(labels, kind='stable').astype(np.int32)

  def draw(key: jax.Array, count: int) -> jax.Array:
    of_class, of_example = jax.random.split(key)
    classes = jax.random.randint(of_class, (count,), 0, len(sizes))
    places = jax.random.randint(of_example, (count,), 0, jnp.asarray(sizes, jnp.int32)[classes])
    return jnp.asarray(by_class)[jnp.asarray(starts, jnp.int32)[classes] + places]

  return draw
