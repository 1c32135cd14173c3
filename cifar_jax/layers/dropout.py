"""Dropout of elements and of whole branches."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from cifar_jax.layers.batch_axis import current_batch_axis, own_rows
from cifar_jax.ops.dropout import dropout, keep_mask
from cifar_jax.utils.array_types import Elements


class Dropout(nn.Module):
  """Dropout (Srivastava et al., 2014), inverted: the kept part is scaled by 1 / (1 - rate).

  Attributes:
    rate: Probability that an element is dropped, 0 <= rate <= 1.
    deterministic: True switches it off; may be given to the call instead.
    rng_collection: Name of the stream of random keys.
  """

  rate: float
  deterministic: bool | None = None
  rng_collection: str = 'dropout'

  @nn.compact
  def __call__(self, inputs: Elements, deterministic: bool | None = None) -> Elements:
    """Drops elements; the leading axis is that of the batch."""
    deterministic = nn.merge_param('deterministic', self.deterministic, deterministic)
    if deterministic or self.rate == 0:
      return inputs
    if self.rate == 1:
      return jnp.zeros_like(inputs)
    key, seen = self.make_rng(self.rng_collection), current_batch_axis()
    if seen.axis is None:
      return dropout(key, inputs, self.rate)
    # Of the mask of the whole batch this device takes its rows, so that it drops what one device
    # alone would.
    mask = keep_mask(key, (len(inputs) * seen.parts, *inputs.shape[1:]), self.rate)
    return jnp.where(own_rows(mask, seen.axis, seen.parts), inputs / (1 - self.rate), 0)


class DropPath(nn.Module):
  """Stochastic depth (Huang et al., 2016): drops a branch whole, for each example by itself.

  Attributes:
    rate: Probability that a branch is dropped, 0 <= rate < 1; what is kept is scaled
      by 1 / (1 - rate).
  """

  rate: float

  @nn.compact
  def __call__(self, branch: Elements, deterministic: bool) -> Elements:
    """Draws from the rng stream 'dropout', one number for each row of the leading axis."""
    if deterministic or self.rate == 0:
      return branch
    keep = 1 - self.rate
    shape = (branch.shape[0],) + (1,) * (branch.ndim - 1)
    kept = jax.random.bernoulli(self.make_rng('dropout'), keep, shape)
    return jnp.where(kept, branch / keep, 0)


def linear_drop_path_rates(last: float, count: int) -> list[float]:
  """The rates of `count` branches: a line from 0 at the first one to `last`."""
  return [last * number / max(count - 1, 1) for number in range(count)]
