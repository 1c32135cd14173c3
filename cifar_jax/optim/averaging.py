"""Averaging of the weights during training, as airbench94 does (Jordan, 2024)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

# (updates made, slow tree, fast tree) -> (slow, fast)
Average = Callable[[jax.Array, Any, Any], tuple[Any, Any]]


def make_average(average_config: ConfigDict, total_steps: int) -> Average | None:
  """What `config.average` asks for; None if nothing.

  A slow copy of the weights follows the trained, fast ones: after every `every_steps` updates

    slow <- d slow + (1 - d) fast ; fast <- slow ; d = decay**every_steps * (t / T)**power

  where t updates were made of T, so it hardly acts before the end is near. After the last update
  the fast weights become the slow ones. This is Lookahead (Zhang et al., 2019) with a step size
  that falls.

  Args:
    average_config: `every_steps` (0: none), `decay` and `power`.
    total_steps: T.

  Returns:
    A function for use after each update; the trees may be any, of float32 arrays.
  """
  every, decay, power = average_config.every_steps, average_config.decay, average_config.power
  if not every:
    return None

  def average(step: jax.Array, slow: Any, fast: Any) -> tuple[Any, Any]:
    last = step == total_steps
    due = last | (step % every == 0)
    weight = decay**every * (step.astype(jnp.float32) / total_steps) ** power
    weight = jnp.where(last, 1.0, weight)

    def both(slow: jax.Array, fast: jax.Array) -> jax.Array:
      return weight * slow + (1 - weight) * fast

    mixed = jax.tree.map(both, slow, fast)
    return (
      jax.tree.map(lambda new, old: jnp.where(due, new, old), mixed, slow),
      jax.tree.map(lambda new, old: jnp.where(due, new, old), mixed, fast),
    )

  return average
