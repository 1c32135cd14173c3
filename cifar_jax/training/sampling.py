"""Which examples an epoch sees, where it is not each of them once: as pure functions of a key."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

# (key, how many) -> int32 [how many], the numbers of examples.
Draw = Callable[[jax.Array, int], jax.Array]


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
