"""Averages of the weights during training: Lookahead as in airbench94, exponential, stochastic."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from cifar_jax.options import BELOW_ONE, NOT_NEGATIVE, REQUIRED, Check, Choice, resolve

# (updates made, slow tree, fast tree) -> (slow, fast)
_Update = Callable[[jax.Array, Any, Any], tuple[Any, Any]]


@dataclasses.dataclass(frozen=True)
class Average:
  """A slow copy that follows the trained, fast weights and moving statistics.

  Attributes:
    update: (updates made, slow, fast) -> (slow, fast), for use after each update; the trees may be
      any, of float32 arrays.
    evaluated: whether the slow copy is the result: what is validated, tested and used.
  """

  update: _Update
  evaluated: bool


def _lookahead(
  total_steps: int, steps_per_epoch: int, every_steps: int, decay: float, power: float
) -> Average:
  """After every `every_steps` updates

    slow <- d slow + (1 - d) fast ; fast <- slow ; d = decay**every_steps * (t / T)**power

  where t updates were made of T, so it hardly acts before the end is near. After the last update
  the fast weights become the slow ones. This is Lookahead (Zhang et al., 2019) with a step size
  that falls, as in airbench94 (Jordan, 2024).
  """
  del steps_per_epoch

  def update(step: jax.Array, slow: Any, fast: Any) -> tuple[Any, Any]:
    last = step == total_steps
    due = last | (step % every_steps == 0)
    weight = decay**every_steps * (step.astype(jnp.float32) / total_steps) ** power
    weight = jnp.where(last, 1.0, weight)

    def both(slow: jax.Array, fast: jax.Array) -> jax.Array:
      return weight * slow + (1 - weight) * fast

    mixed = jax.tree.map(both, slow, fast)
    return _where(due, mixed, slow), _where(due, mixed, fast)

  return Average(update, evaluated=False)


def _ema(total_steps: int, steps_per_epoch: int, every_steps: int, decay: float) -> Average:
  """The exponential moving average: slow <- d slow + (1 - d) fast after every `every_steps`.

  d is the smaller of decay**every_steps and (1 + n) / (10 + n), n the averages taken before, so
  that the first weights are soon forgotten.
  """
  del total_steps, steps_per_epoch

  def update(step: jax.Array, slow: Any, fast: Any) -> tuple[Any, Any]:
    n = (step // every_steps - 1).astype(jnp.float32)
    weight = jnp.minimum(decay**every_steps, (1 + n) / (10 + n))
    mixed = jax.tree.map(lambda s, f: weight * s + (1 - weight) * f, slow, fast)
    return _where(step % every_steps == 0, mixed, slow), fast

  return Average(update, evaluated=True)


def _swa(
  total_steps: int, steps_per_epoch: int, every_steps: int | None, start_epoch: float
) -> Average:
  """Stochastic weight averaging (Izmailov et al., 2018): the mean of the weights at the end of
  `start_epoch` and then every `every_steps`, an epoch by default.

  Moving statistics of BatchNorm are averaged like weights, where the paper computes them anew from
  the training set. Until `start_epoch` the slow copy is the fast one.
  """
  del total_steps
  start, every = round(start_epoch * steps_per_epoch), every_steps or steps_per_epoch

  def update(step: jax.Array, slow: Any, fast: Any) -> tuple[Any, Any]:
    count = jnp.maximum(step - start, 0) // every + 1
    mean = jax.tree.map(lambda s, f: s + (f - s) / count, slow, fast)
    due = (step <= start) | ((step - start) % every == 0)
    return _where(due, mean, slow), fast

  return Average(update, evaluated=True)


def _where(condition: jax.Array, new: Any, old: Any) -> Any:
  return jax.tree.map(lambda n, o: jnp.where(condition, n, o), new, old)


AVERAGES: dict[str, Choice] = {
  'none': Choice(lambda total_steps, steps_per_epoch: None, {}),
  'lookahead': Choice(_lookahead, {'every_steps': 5, 'decay': 0.95, 'power': 3.0}),
  'ema': Choice(_ema, {'every_steps': 1, 'decay': 0.999}),
  'swa': Choice(_swa, {'every_steps': None, 'start_epoch': REQUIRED}),
}

CHECKS: dict[str, Check] = {
  'every_steps': Check(
    lambda value: isinstance(value, int) and not isinstance(value, bool) and value > 0,
    'a whole number from 1 up',
  ),
  'decay': BELOW_ONE,
  'power': NOT_NEGATIVE,
  'start_epoch': NOT_NEGATIVE,
}


def validate(average_config: ConfigDict | Mapping[str, Any]) -> tuple[Choice, dict[str, Any]]:
  """Reads `config.average`; raises UserError, naming the flag at fault."""
  return resolve('average', average_config, AVERAGES, CHECKS)


def is_evaluated(average_config: ConfigDict | Mapping[str, Any]) -> bool:
  """Whether the slow copy is the result of a run."""
  average = make_average(average_config, 1, 1) if average_config.get('name') else None
  return average is not None and average.evaluated


def make_average(
  average_config: ConfigDict | Mapping[str, Any], total_steps: int, steps_per_epoch: int
) -> Average | None:
  """What `config.average` asks for; None if nothing.

  Args:
    average_config: `name` and the options of that average, None where not set.
    total_steps: of the run.
    steps_per_epoch: updates in an epoch.
  """
  choice, options = validate(average_config)
  return choice.build(total_steps, steps_per_epoch, **options)
