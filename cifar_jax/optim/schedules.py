"""Learning rate schedules by name: Optax schedules, given in epochs.

A schedule maps the number of updates already made (0 for the first update) to the learning rate of
the next one. All durations are in epochs and may be fractions: the number of updates in a duration
is rounded down, the length of the whole run up. Factors are relative to `learning_rate`.

lr = learning_rate, t = updates already made, T = updates in the run:

constant       lr
piecewise      lr, from the epoch boundaries[i] on factors[i] * lr; by default a tenth of the rate
               before, factors 0.1, 0.01, ...
cosine         half a cosine from lr to end_factor * lr at T (Loshchilov and Hutter, 2017)
warmup_cosine  a line from start_factor * lr to lr in warmup_epochs, then half a cosine to
               end_factor * lr at T; the first update has the rate start_factor * lr, by default 0
triangular     a line from start_factor * lr to lr at peak_epoch, a line to end_factor * lr at T;
               by default 0.2, 23 % of the run and 0.07, as in airbench94 (Jordan, 2024)
exponential    lr * factor ** (t in epochs), smooth, as ExponentialDecay of Keras is by default
time_decay     lr / (1 + decay * t): the `decay` argument of every optimizer of Keras 1 and 2, which
               counts updates, not epochs
"""

import itertools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from cifar_jax.optim.plan import Plan
from cifar_jax.schema.registry import (
  NOT_NEGATIVE,
  POSITIVE,
  REQUIRED,
  Check,
  Choice,
  is_number,
  resolve,
)
from cifar_jax.utils.errors import UserError


def _constant(learning_rate: float, plan: Plan) -> optax.Schedule:
  return optax.constant_schedule(learning_rate)


def _piecewise(
  learning_rate: float,
  plan: Plan,
  boundaries: tuple[float, ...],
  factors: tuple[float, ...] | None,
) -> optax.Schedule:
  if factors is None:
    factors = tuple(0.1 ** (i + 1) for i in range(len(boundaries)))
  return optax.join_schedules(
    [optax.constant_schedule(learning_rate * factor) for factor in (1.0, *factors)],
    [plan.steps(boundary) for boundary in boundaries],
  )


def _cosine(learning_rate: float, plan: Plan, end_factor: float) -> optax.Schedule:
  return optax.cosine_decay_schedule(learning_rate, plan.total_steps, alpha=end_factor)


def _warmup_cosine(
  learning_rate: float,
  plan: Plan,
  start_factor: float,
  warmup_epochs: float,
  end_factor: float,
) -> optax.Schedule:
  return optax.warmup_cosine_decay_schedule(
    init_value=learning_rate * start_factor,
    peak_value=learning_rate,
    warmup_steps=plan.steps(warmup_epochs),
    decay_steps=plan.total_steps,
    end_value=learning_rate * end_factor,
  )


def _triangular(
  learning_rate: float,
  plan: Plan,
  start_factor: float,
  peak_epoch: float | None,
  end_factor: float,
) -> optax.Schedule:
  total = plan.total_steps
  peak = plan.steps(0.23 * plan.epochs if peak_epoch is None else peak_epoch)
  rise = optax.linear_schedule(learning_rate * start_factor, learning_rate, peak)
  fall = optax.linear_schedule(learning_rate, learning_rate * end_factor, total - peak)
  return optax.join_schedules([rise, fall], [peak])


def _exponential(learning_rate: float, plan: Plan, factor: float) -> optax.Schedule:
  return optax.exponential_decay(learning_rate, plan.steps_per_epoch, factor)


def _time_decay(learning_rate: float, plan: Plan, decay: float) -> optax.Schedule:
  # float32 holds t exactly up to 2**24, within 6e-8 of itself beyond, and nothing cancels here.
  return lambda count: learning_rate / (1.0 + decay * jnp.asarray(count, jnp.float32))


SCHEDULES: dict[str, Choice] = {
  'constant': Choice(_constant, {}),
  'piecewise': Choice(_piecewise, {'boundaries': REQUIRED, 'factors': None}),
  'cosine': Choice(_cosine, {'end_factor': 0.0}),
  'warmup_cosine': Choice(
    _warmup_cosine, {'start_factor': 0.0, 'warmup_epochs': 5.0, 'end_factor': 0.0}
  ),
  'triangular': Choice(_triangular, {'start_factor': 0.2, 'peak_epoch': None, 'end_factor': 0.07}),
  'exponential': Choice(_exponential, {'factor': REQUIRED}),
  'time_decay': Choice(_time_decay, {'decay': REQUIRED}),
}


def _increasing(values: Any) -> bool:
  if not isinstance(values, tuple | list) or not values:
    return False
  numbers = all(is_number(value) and value > 0 for value in values)
  return numbers and all(a < b for a, b in itertools.pairwise(values))


CHECKS: dict[str, Check] = {
  'boundaries': Check(_increasing, 'a tuple of epochs above 0, each later than the one before'),
  'factors': Check(
    lambda values: isinstance(values, tuple | list) and all(map(NOT_NEGATIVE.holds, values)),
    'a tuple of numbers not below 0',
  ),
  'warmup_epochs': NOT_NEGATIVE,
  'peak_epoch': NOT_NEGATIVE,
  'start_factor': NOT_NEGATIVE,
  'end_factor': NOT_NEGATIVE,
  'factor': POSITIVE,
  'decay': NOT_NEGATIVE,
}


def validate(
  schedule_config: ConfigDict | Mapping[str, Any], epochs: float | None = None
) -> tuple[Choice, dict[str, Any]]:
  """Reads `config.schedule` without building anything.

  Args:
    schedule_config: `name` and the options of the module docstring, None where not set.
    epochs: length of the run; if given, warm-up and peak must lie within it.

  Returns:
    The named schedule and its complete options.

  Raises:
    UserError: one sentence that names the flag at fault.
  """
  choice, options = resolve('schedule', schedule_config, SCHEDULES, CHECKS)
  factors = options.get('factors')
  if factors is not None and len(factors) != len(options['boundaries']):
    raise UserError(
      f'--config.schedule.factors has {len(factors)} values and --config.schedule.boundaries '
      f'{len(options["boundaries"])}; there must be one factor for each boundary'
    )
  if epochs is not None:
    warmup_epochs, peak_epoch = options.get('warmup_epochs'), options.get('peak_epoch')
    if warmup_epochs is not None and warmup_epochs >= epochs:
      raise UserError(
        f'--config.schedule.warmup_epochs is {warmup_epochs:g}, which must be less than '
        f'--config.epochs, {epochs:g}'
      )
    if peak_epoch is not None and peak_epoch > epochs:
      raise UserError(
        f'--config.schedule.peak_epoch is {peak_epoch:g}, which must not be more than '
        f'--config.epochs, {epochs:g}'
      )
  return choice, options


def create(
  schedule_config: ConfigDict | Mapping[str, Any],
  learning_rate: float,
  plan: Plan,
) -> optax.Schedule:
  """Builds the schedule named in `config.schedule`.

  Args:
    schedule_config: `name` and the options of the module docstring, None where not set.
    learning_rate: the base rate, `optim.learning_rate(config.optimizer)`.
    plan: The length of the run.

  Returns:
    A pure function from the number of updates already made (int32 scalar or Python int) to the
    learning rate of the next update (float32 scalar). For logging, call it with the step.

  Raises:
    UserError: as `validate`.
  """
  choice, options = validate(schedule_config, plan.epochs)
  schedule = choice.build(learning_rate, plan, **options)

  def float32_schedule(count: jax.typing.ArrayLike) -> jax.Array:
    return jnp.asarray(schedule(jnp.asarray(count, jnp.int32)), jnp.float32)

  return float32_schedule
