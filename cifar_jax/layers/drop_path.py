"""Stochastic depth."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class DropPath(nn.Module):
  """Stochastic depth (Huang et al., 2016): drops a branch whole, for each example by itself.

  Attributes:
    rate: probability, 0 <= rate < 1; what is kept is scaled by 1 / (1 - rate).
  """

  rate: float

  @nn.compact
  def __call__(self, branch: jax.Array, deterministic: bool) -> jax.Array:
    """Keeps the shape [B, ...]; draws from the rng stream 'dropout'."""
    if deterministic or self.rate == 0:
      return branch
    keep = 1 - self.rate
    shape = (branch.shape[0],) + (1,) * (branch.ndim - 1)
    kept = jax.random.bernoulli(self.make_rng('dropout'), keep, shape)
    return jnp.where(kept, branch / keep, 0)


def rising_rates(last: float, count: int) -> list[float]:
  """The rates of `count` branches: a line from 0 at the first one to `last`."""
  return [last * number / max(count - 1, 1) for number in range(count)]
