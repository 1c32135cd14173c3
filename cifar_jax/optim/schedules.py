"""Learning rate schedules by name: Optax schedules, given in epochs.

A schedule maps the number of updates already made (0 for the first update) to the learning rate of
the next one. All durations are in epochs and may be fractions: the number of updates in a duration
is rounded down, the length of the whole run up. Factors are relative to `learning_rate`.

In the docstrings lr = learning_rate, t = updates already made, T = updates in the run. A new
schedule is a dataclass here; nothing else names it.
"""

import abc
import itertools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from cifar_jax.optim.plan import Plan
from cifar_jax.schema.constraints import NOT_NEGATIVE, POSITIVE, Constraint, is_number
from cifar_jax.schema.options import REQUIRED, option, shared_option
from cifar_jax.schema.registry import Registry
from cifar_jax.utils.errors import UserError


class Schedule(abc.ABC):
  """A schedule with its options."""

  @abc.abstractmethod
  def build(self, learning_rate: float, plan: Plan) -> optax.Schedule:
    """The schedule of a run: updates made -> learning rate of the next one."""

  def check(self, epochs: float | None) -> None:
    """Raises UserError where options contradict each other, or the length of the run if given."""
    del epochs  # most fit any


SCHEDULES: Registry[Schedule] = Registry('schedule')
schedule = SCHEDULES.register


def _increasing(values: Any) -> bool:
  if not isinstance(values, tuple | list) or not values:
    return False
  numbers = all(is_number(value) and value > 0 for value in values)
  return numbers and all(a < b for a, b in itertools.pairwise(values))


_BOUNDARIES = Constraint(
  _increasing,
  'a tuple of epochs above 0, each later than the one before',
  tuple,
  ((1,), (0.5, 2)),
  ((), (0, 1), (3, 2), (1, 1), ('1',), 3, None),
)
_FACTORS = Constraint(
  lambda values: isinstance(values, tuple | list) and all(map(NOT_NEGATIVE.test, values)),
  'a tuple of numbers not below 0',
  tuple,
  ((), (0.1, 0)),
  ((-0.1,), ('1',), 0.1, None),
)
_end_factor = shared_option(NOT_NEGATIVE, 'The factor of the learning rate at the last update.')
_start_factor = shared_option(NOT_NEGATIVE, 'The factor of the learning rate at the first update.')


@schedule('constant')
class Constant(Schedule):
  """The rate is lr for the whole run."""

  def build(self, learning_rate: float, plan: Plan) -> optax.Schedule:
    """Builds this schedule, as `Schedule.build` describes."""
    return optax.constant_schedule(learning_rate)


@schedule('piecewise')
class Piecewise(Schedule):
  """The rate is lr, and factors[i] * lr from the epoch boundaries[i] on."""

  boundaries: tuple[float, ...] = option(REQUIRED, _BOUNDARIES, 'epochs')(
    'The epochs at whose first update the rate changes.'
  )
  factors: tuple[float, ...] | None = option(None, _FACTORS)(
    'The factor of the rate after each boundary; None: 0.1, 0.01 and so on.'
  )

  def build(self, learning_rate: float, plan: Plan) -> optax.Schedule:
    """Builds this schedule, as `Schedule.build` describes."""
    factors = self.factors
    if factors is None:
      factors = tuple(0.1 ** (i + 1) for i in range(len(self.boundaries)))
    return optax.join_schedules(
      [optax.constant_schedule(learning_rate * factor) for factor in (1.0, *factors)],
      [plan.steps(boundary) for boundary in self.boundaries],
    )

  def check(self, epochs: float | None) -> None:
    """Raises UserError, as `Schedule.check` describes."""
    if self.factors is not None and len(self.factors) != len(self.boundaries):
      raise UserError(
        f'--config.schedule.factors has {len(self.factors)} values and '
        f'--config.schedule.boundaries {len(self.boundaries)}; there must be one factor for each '
        'boundary'
      )


@schedule('cosine')
class Cosine(Schedule):
  """Half a cosine from lr to end_factor * lr at T (Loshchilov and Hutter, 2017)."""

  end_factor: float = _end_factor(0.0)

  def build(self, learning_rate: float, plan: Plan) -> optax.Schedule:
    """Builds this schedule, as `Schedule.build` describes."""
    return optax.cosine_decay_schedule(learning_rate, plan.total_steps, alpha=self.end_factor)


@schedule('warmup_cosine')
class WarmupCosine(Schedule):
  """A line from start_factor * lr to lr, then half a cosine to end_factor * lr at T.

  The first update has the rate start_factor * lr.
  """

  start_factor: float = _start_factor(0.0)
  warmup_epochs: float = option(5.0, NOT_NEGATIVE, 'epochs')('The length of the rise of the rate.')
  end_factor: float = _end_factor(0.0)

  def build(self, learning_rate: float, plan: Plan) -> optax.Schedule:
    """Builds this schedule, as `Schedule.build` describes."""
    return optax.warmup_cosine_decay_schedule(
      init_value=learning_rate * self.start_factor,
      peak_value=learning_rate,
      warmup_steps=plan.steps(self.warmup_epochs),
      decay_steps=plan.total_steps,
      end_value=learning_rate * self.end_factor,
    )

  def check(self, epochs: float | None) -> None:
    """Raises UserError, as `Schedule.check` describes."""
    if epochs is not None and self.warmup_epochs >= epochs:
      raise UserError(
        f'--config.schedule.warmup_epochs is {self.warmup_epochs:g}, which must be less than '
        f'--config.epochs, {epochs:g}'
      )


@schedule('triangular')
class Triangular(Schedule):
  """A line from start_factor * lr to lr at peak_epoch, then a line to end_factor * lr at T.

  The defaults are those of airbench94 (Jordan, 2024).
  """

  start_factor: float = _start_factor(0.2)
  peak_epoch: float | None = option(None, NOT_NEGATIVE, 'epochs')(
    'The epoch at which the rate is highest; None: after 23 % of the run.'
  )
  end_factor: float = _end_factor(0.07)

  def build(self, learning_rate: float, plan: Plan) -> optax.Schedule:
    """Builds this schedule, as `Schedule.build` describes."""
    peak = plan.steps(0.23 * plan.epochs if self.peak_epoch is None else self.peak_epoch)
    rise = optax.linear_schedule(learning_rate * self.start_factor, learning_rate, peak)
    fall = optax.linear_schedule(
      learning_rate, learning_rate * self.end_factor, plan.total_steps - peak
    )
    return optax.join_schedules([rise, fall], [peak])

  def check(self, epochs: float | None) -> None:
    """Raises UserError, as `Schedule.check` describes."""
    if epochs is not None and self.peak_epoch is not None and self.peak_epoch > epochs:
      raise UserError(
        f'--config.schedule.peak_epoch is {self.peak_epoch:g}, which must not be more than '
        f'--config.epochs, {epochs:g}'
      )


@schedule('exponential')
class Exponential(Schedule):
  """lr * factor ** (t in epochs), smooth, as Keras's ExponentialDecay is by default."""

  factor: float = option(REQUIRED, POSITIVE)('The factor of the rate per epoch.')

  def build(self, learning_rate: float, plan: Plan) -> optax.Schedule:
    """Builds this schedule, as `Schedule.build` describes."""
    return optax.exponential_decay(learning_rate, plan.steps_per_epoch, self.factor)


@schedule('time_decay')
class TimeDecay(Schedule):
  """lr / (1 + decay * t): the `decay` argument of every optimizer of Keras 1 and 2.

  It counts updates, not epochs.
  """

  decay: float = option(REQUIRED, NOT_NEGATIVE)('The decay of the rate per update.')

  def build(self, learning_rate: float, plan: Plan) -> optax.Schedule:
    """Builds this schedule, as `Schedule.build` describes."""
    # float32 holds t exactly up to 2**24, with a relative error of 6e-8 beyond; nothing cancels.
    return lambda count: learning_rate / (1.0 + self.decay * jnp.asarray(count, jnp.float32))


def validate(
  schedule_config: ConfigDict | Mapping[str, Any], epochs: float | None = None
) -> Schedule:
  """Reads `config.schedule` without building anything.

  Args:
    schedule_config: `name` and the options of that schedule, None where not set.
    epochs: The length of the run; if given, warm-up and peak must lie within it.

  Returns:
    The named schedule, its options complete.

  Raises:
    UserError: One sentence that names the flag at fault.
  """
  chosen = SCHEDULES.resolve(schedule_config)
  chosen.check(epochs)
  return chosen


def create(
  schedule_config: ConfigDict | Mapping[str, Any], learning_rate: float, plan: Plan
) -> optax.Schedule:
  """Builds the schedule named in `config.schedule`.

  Args:
    schedule_config: `name` and the options of that schedule, None where not set.
    learning_rate: The base rate, `optim.learning_rate(config.optimizer)`.
    plan: The length of the run.

  Returns:
    A pure function from the number of updates already made (int32 scalar or Python int) to the
    learning rate of the next update (float32 scalar). For logging, call it with the step.

  Raises:
    UserError: As `validate`.
  """
  built = validate(schedule_config, plan.epochs).build(learning_rate, plan)

  def float32_schedule(count: jax.typing.ArrayLike) -> jax.Array:
    return jnp.asarray(built(jnp.asarray(count, jnp.int32)), jnp.float32)

  return float32_schedule
