"""Averages of the weights during training: Lookahead as in airbench94, exponential, stochastic, and
that of Schedule-Free learning.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from cifar_jax.optim.plan import Plan
from cifar_jax.schema.registry import BELOW_ONE, NOT_NEGATIVE, REQUIRED, Check, Choice, resolve
from cifar_jax.utils.errors import UserError

# (updates made, slow tree, fast tree) -> (slow, fast)
_Update = Callable[[jax.Array, Any, Any], tuple[Any, Any]]


@dataclasses.dataclass(frozen=True)
class Average:
  """A slow copy that follows the trained, fast weights and moving statistics.

  Attributes:
    update: (updates made, slow, fast) -> (slow, fast), for use after each update; the trees may be
      any, of float32 arrays.
    evaluated: whether the slow copy is the result: what is validated, tested and used.
    gradients_at: (slow, fast) -> the parameters at which gradients are taken and which the rule is
      given; None for the fast ones.
  """

  update: _Update
  evaluated: bool
  gradients_at: Callable[[Any, Any], Any] | None = None


def _lookahead(
  plan: Plan, schedule: optax.Schedule, every_steps: int, decay: float, power: float
) -> Average:
  """After every `every_steps` updates

    slow <- d slow + (1 - d) fast ; fast <- slow ; d = decay**every_steps * (t / T)**power

  where t updates were made of T, so it hardly acts before the end is near. After the last update
  the fast weights become the slow ones. This is Lookahead (Zhang et al., 2019) with a step size
  that falls, as in airbench94 (Jordan, 2024).
  """

  del schedule

  def update(step: jax.Array, slow: Any, fast: Any) -> tuple[Any, Any]:
    last = step == plan.total_steps
    due = last | (step % every_steps == 0)
    weight = decay**every_steps * (step.astype(jnp.float32) / plan.total_steps) ** power
    weight = jnp.where(last, 1.0, weight)

    def both(slow: jax.Array, fast: jax.Array) -> jax.Array:
      return weight * slow + (1 - weight) * fast

    mixed = jax.tree.map(both, slow, fast)
    return _where(due, mixed, slow), _where(due, mixed, fast)

  return Average(update, evaluated=False)


def _ema(plan: Plan, schedule: optax.Schedule, every_steps: int, decay: float) -> Average:
  """The exponential moving average: slow <- d slow + (1 - d) fast after every `every_steps`.

  d is the smaller of decay**every_steps and (1 + n) / (10 + n), n the averages taken before, so
  that the first weights are soon forgotten.
  """
  del plan, schedule

  def update(step: jax.Array, slow: Any, fast: Any) -> tuple[Any, Any]:
    n = (step // every_steps - 1).astype(jnp.float32)
    weight = jnp.minimum(decay**every_steps, (1 + n) / (10 + n))
    mixed = jax.tree.map(lambda s, f: weight * s + (1 - weight) * f, slow, fast)
    return _where(step % every_steps == 0, mixed, slow), fast

  return Average(update, evaluated=True)


def _swa(
  plan: Plan, schedule: optax.Schedule, every_steps: int | None, start_epoch: float
) -> Average:
  """Stochastic weight averaging (Izmailov et al., 2018): the mean of the weights at the end of
  `start_epoch` and then every `every_steps`, an epoch by default.

  Moving statistics of BatchNorm are averaged like weights, where the paper computes them anew from
  the training set. Until `start_epoch` the slow copy is the fast one.
  """
  del schedule
  start, every = plan.nearest_step(start_epoch), every_steps or plan.steps_per_epoch

  def update(step: jax.Array, slow: Any, fast: Any) -> tuple[Any, Any]:
    count = jnp.maximum(step - start, 0) // every + 1
    mean = jax.tree.map(lambda s, f: s + (f - s) / count, slow, fast)
    due = (step <= start) | ((step - start) % every == 0)
    return _where(due, mean, slow), fast

  return Average(update, evaluated=True)


def _schedule_free(plan: Plan, schedule: optax.Schedule, beta: float) -> Average:
  """Schedule-Free learning (Defazio et al., 2024), for any rule without momentum of its own.

  Gradients are taken between the average x, the slow copy, and the fast weights z:

    y = (1 - beta) z + beta x ; z <- z + the rule's update at y ; x <- (1 - c) x + c z

  with c = r**2 / (the sum of r**2 so far), r the schedule's highest rate so far; where that is
  constant, c is one over the number of updates. The rate may be warmed up and needs no decay.
  Moving statistics of BatchNorm are those at y.
  """
  rates = np.asarray(jax.vmap(schedule)(jnp.arange(plan.total_steps)), np.float64)
  squares = np.maximum.accumulate(rates) ** 2
  shares = jnp.asarray(squares / np.maximum(np.cumsum(squares), 1e-300), jnp.float32)

  def gradients_at(slow: Any, fast: Any) -> Any:
    return jax.tree.map(lambda x, z: (1 - beta) * z + beta * x, slow, fast)

  def update(step: jax.Array, slow: Any, fast: Any) -> tuple[Any, Any]:
    share = shares[step - 1]
    mixed = jax.tree.map(lambda x, z: (1 - share) * x + share * z, slow['params'], fast['params'])
    return {**fast, 'params': mixed}, fast

  return Average(update, evaluated=True, gradients_at=gradients_at)


def _where(condition: jax.Array, new: Any, old: Any) -> Any:
  return jax.tree.map(lambda n, o: jnp.where(condition, n, o), new, old)


AVERAGES: dict[str, Choice] = {
  'none': Choice(lambda plan, schedule: None, {}),
  'lookahead': Choice(_lookahead, {'every_steps': 5, 'decay': 0.95, 'power': 3.0}),
  'ema': Choice(_ema, {'every_steps': 1, 'decay': 0.999}),
  'swa': Choice(_swa, {'every_steps': None, 'start_epoch': REQUIRED}),
  'schedule_free': Choice(_schedule_free, {'beta': 0.9}),
}

CHECKS: dict[str, Check] = {
  'every_steps': Check(
    lambda value: isinstance(value, int) and not isinstance(value, bool) and value > 0,
    'a whole number from 1 up',
  ),
  'decay': BELOW_ONE,
  'power': NOT_NEGATIVE,
  'start_epoch': NOT_NEGATIVE,
  'beta': BELOW_ONE,
}


def validate(average_config: ConfigDict | Mapping[str, Any]) -> tuple[Choice, dict[str, Any]]:
  """Reads `config.average`; raises UserError, naming the flag at fault."""
  return resolve('average', average_config, AVERAGES, CHECKS)


def check_rule(name: str, section: str, rule_options: Mapping[str, Any]) -> None:
  """Raises UserError if the average `name` cannot follow the rule of a section with these options.

  Schedule-Free learning takes the place of momentum, and a bound on y does not bound z and x.
  """
  if name != 'schedule_free':
    return
  for option, off in (('momentum', 0), ('beta1', 0), ('max_norm', None)):
    if rule_options.get(option):
      raise UserError(
        f"--config.average.name='schedule_free' needs --config.{section}.{option}={off}, "
        f'not {rule_options[option]!r}'
      )


def is_evaluated(average_config: ConfigDict | Mapping[str, Any]) -> bool:
  """Whether the slow copy is the result of a run."""
  if not average_config.get('name'):
    return False
  average = make_average(average_config, Plan(1, 1), optax.constant_schedule(1.0))
  return average is not None and average.evaluated


def make_average(
  average_config: ConfigDict | Mapping[str, Any],
  plan: Plan,
  schedule: optax.Schedule,
) -> Average | None:
  """What `config.average` asks for; None if nothing.

  Args:
    average_config: `name` and the options of that average, None where not set.
    plan: The length of the run.
    schedule: Updates made -> learning rate of the next one.
  """
  choice, options = validate(average_config)
  return choice.build(plan, schedule, **options)
