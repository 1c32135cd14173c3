"""Averages of the weights during training: Lookahead as in airbench94, exponential, stochastic, and
that of Schedule-Free learning. A new one is a dataclass here; nothing else names it.
"""

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from cifar_jax.optim.optimizers import Optimizer
from cifar_jax.optim.plan import Plan
from cifar_jax.schema.constraints import BELOW_ONE, NOT_NEGATIVE, integer
from cifar_jax.schema.options import REQUIRED, option, shared_option
from cifar_jax.schema.registry import Registry
from cifar_jax.utils.errors import UserError

# (updates made, slow tree, fast tree) -> (slow, fast)
_Update = Callable[[jax.Array, Any, Any], tuple[Any, Any]]


@dataclasses.dataclass(frozen=True)
class Average:
  """A slow copy that follows the trained, fast weights and running statistics.

  Attributes:
    update: (updates made, slow, fast) -> (slow, fast), for use after each update; the trees may be
      any, of float32 arrays.
    evaluated: Whether the slow copy is the result: what is validated, tested and used.
    gradients_at: (slow, fast) -> the parameters at which gradients are taken and which the rule is
      given; None for the fast ones.
  """

  update: _Update
  evaluated: bool
  gradients_at: Callable[[Any, Any], Any] | None = None


class Averaging(abc.ABC):
  """An average with its options.

  Attributes:
    is_evaluated: Whether the slow copy is the result: what is validated, tested and used.
  """

  is_evaluated: ClassVar[bool] = True

  @abc.abstractmethod
  def build(self, plan: Plan, schedule: optax.Schedule) -> Average | None:
    """The average of a run.

    Args:
      plan: The length of the run.
      schedule: Updates made -> learning rate of the next one.
    """

  def check_optimizer(self, section: str, optimizer: Optimizer) -> None:
    """Raises UserError if the average cannot follow the optimizer of a config section."""
    del section, optimizer  # most follow any


AVERAGES: Registry[Averaging] = Registry('weight_averaging')
average = AVERAGES.register

_COUNT = dataclasses.replace(integer(1), description='a whole number from 1 up')
_every_steps = shared_option(_COUNT, 'How often the slow copy is updated.', 'steps')


@average('none')
class NoAverage(Averaging):
  """The trained weights themselves."""

  is_evaluated = False

  def build(self, plan: Plan, schedule: optax.Schedule) -> None:
    """Builds this average, as `Averaging.build` describes."""


@average('lookahead')
class Lookahead(Averaging):
  """A slow copy to which the trained weights are reset; it matters most at the end of the run.

  After every `every_steps` updates

    slow <- d slow + (1 - d) fast ; fast <- slow ; d = decay**every_steps * (t / T)**power

  where t of T updates have been made. After the last update the fast weights become the slow
  ones. This is Lookahead (Zhang et al., 2019) with a step size that falls, as in airbench94
  (Jordan, 2024).
  """

  is_evaluated = False
  every_steps: int = _every_steps(5)
  decay: float = option(0.95, BELOW_ONE)(
    'The decay of the slow copy per step, at the end of the run.'
  )
  power: float = option(3.0, NOT_NEGATIVE)(
    'The power of time with which the decay grows from 0 to that value.'
  )

  def build(self, plan: Plan, schedule: optax.Schedule) -> Average:
    """Builds this average, as `Averaging.build` describes."""

    def update(step: jax.Array, slow: Any, fast: Any) -> tuple[Any, Any]:
      last = step == plan.total_steps
      due = last | (step % self.every_steps == 0)
      progress = step.astype(jnp.float32) / plan.total_steps
      weight = self.decay**self.every_steps * progress**self.power
      weight = jnp.where(last, 1.0, weight)

      def both(slow: jax.Array, fast: jax.Array) -> jax.Array:
        return weight * slow + (1 - weight) * fast

      mixed = jax.tree.map(both, slow, fast)
      return _where(due, mixed, slow), _where(due, mixed, fast)

    return Average(update, evaluated=self.is_evaluated)


@average('ema')
class EMA(Averaging):
  """The exponential moving average: slow <- d slow + (1 - d) fast after every `every_steps`.

  d is the smaller of decay**every_steps and (1 + n) / (10 + n), where n averages were taken before,
  so that the first weights are soon forgotten.
  """

  every_steps: int = _every_steps(1)
  decay: float = option(0.999, BELOW_ONE)('The decay of the slow copy per step.')

  def build(self, plan: Plan, schedule: optax.Schedule) -> Average:
    """Builds this average, as `Averaging.build` describes."""

    def update(step: jax.Array, slow: Any, fast: Any) -> tuple[Any, Any]:
      n = (step // self.every_steps - 1).astype(jnp.float32)
      weight = jnp.minimum(self.decay**self.every_steps, (1 + n) / (10 + n))
      mixed = jax.tree.map(lambda s, f: weight * s + (1 - weight) * f, slow, fast)
      return _where(step % self.every_steps == 0, mixed, slow), fast

    return Average(update, evaluated=self.is_evaluated)


@average('swa')
class SWA(Averaging):
  """Stochastic weight averaging (Izmailov et al., 2018): a plain mean from some epoch on.

  It is the mean of the weights at the end of `start_epoch` and then every `every_steps`. Running
  statistics of BatchNorm are averaged like weights; the paper recomputes them from the training
  set. Until `start_epoch`, the slow copy equals the fast one.
  """

  every_steps: int | None = option(None, _COUNT, 'steps')(
    'How often the weights are added to the mean; None: once per epoch.'
  )
  start_epoch: float = option(REQUIRED, NOT_NEGATIVE, 'epochs')(
    'The number of epochs after which averaging begins.'
  )

  def build(self, plan: Plan, schedule: optax.Schedule) -> Average:
    """Builds this average, as `Averaging.build` describes."""
    start, every = plan.nearest_step(self.start_epoch), self.every_steps or plan.steps_per_epoch

    def update(step: jax.Array, slow: Any, fast: Any) -> tuple[Any, Any]:
      count = jnp.maximum(step - start, 0) // every + 1
      mean = jax.tree.map(lambda s, f: s + (f - s) / count, slow, fast)
      due = (step <= start) | ((step - start) % every == 0)
      return _where(due, mean, slow), fast

    return Average(update, evaluated=self.is_evaluated)


@average('schedule_free')
class ScheduleFree(Averaging):
  """Schedule-Free learning (Defazio et al., 2024), for any optimizer without momentum.

  Gradients are taken between the average x, the slow copy, and the fast weights z:

    y = (1 - beta) z + beta x ; z <- z + the rule's update at y ; x <- (1 - c) x + c z

  where c = r**2 / (the sum of r**2 so far) and r is the schedule's highest rate so far; for a
  constant rate, c is one over the number of updates. The rate may be warmed up and needs no decay.
  Running statistics of BatchNorm are those at y.
  """

  beta: float = option(0.9, BELOW_ONE)(
    'The weight of the average in the point at which gradients are taken; 1: they are taken at the '
    'average.'
  )

  def build(self, plan: Plan, schedule: optax.Schedule) -> Average:
    """Builds this average, as `Averaging.build` describes."""
    rates = np.asarray(jax.vmap(schedule)(jnp.arange(plan.total_steps)), np.float64)
    squares = np.maximum.accumulate(rates) ** 2
    shares = jnp.asarray(squares / np.maximum(np.cumsum(squares), 1e-300), jnp.float32)

    def gradients_at(slow: Any, fast: Any) -> Any:
      return jax.tree.map(lambda x, z: (1 - self.beta) * z + self.beta * x, slow, fast)

    def update(step: jax.Array, slow: Any, fast: Any) -> tuple[Any, Any]:
      share = shares[step - 1]
      mixed = jax.tree.map(lambda x, z: (1 - share) * x + share * z, slow['params'], fast['params'])
      return {**fast, 'params': mixed}, fast

    return Average(update, evaluated=self.is_evaluated, gradients_at=gradients_at)

  def check_optimizer(self, section: str, optimizer: Optimizer) -> None:
    """Raises UserError, as `Averaging.check_optimizer` describes.

    The average takes the place of momentum, and a bound on y does not bound z and x.
    """
    for key, off in (('momentum', 0), ('beta1', 0), ('max_norm', None)):
      value = getattr(optimizer, key, None)
      if value:
        raise UserError(
          f"--config.weight_averaging.name='schedule_free' needs --config.{section}.{key}={off}, "
          f'not {value!r}'
        )


def _where(condition: jax.Array, new: Any, old: Any) -> Any:
  return jax.tree.map(lambda n, o: jnp.where(condition, n, o), new, old)


def is_evaluated(average_config: ConfigDict | Mapping[str, Any]) -> bool:
  """Whether the slow copy is the result of a run, its average that of `config.weight_averaging`."""
  return AVERAGES.resolve(average_config).is_evaluated


def make_average(
  average_config: ConfigDict | Mapping[str, Any], plan: Plan, schedule: optax.Schedule
) -> Average | None:
  """What `config.weight_averaging` asks for; None if nothing.

  Args:
    average_config: `name` and the options of that average, None where not set.
    plan: The length of the run.
    schedule: Updates made -> learning rate of the next one.

  Raises:
    UserError: One sentence that names the flag at fault.
  """
  return AVERAGES.resolve(average_config).build(plan, schedule)
