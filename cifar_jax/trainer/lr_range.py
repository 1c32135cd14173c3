"""The learning-rate range test of Smith (2017): a short training whose rate rises with each update.

All else is as the config says, parameter groups and their factors included; its schedule, and what
acts at the end of epochs, are left out. The loss beside a rate is that of the batch on which this
rate acts, before it acts, as fastai plots it.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax import data, optim
from cifar_jax.data import Splits
from cifar_jax.devices import sharding
from cifar_jax.optim import Plan, make_average
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import cached_features, step_memory
from cifar_jax.trainer.build import Trainer, build_trainer
from cifar_jax.trainer.input_pipeline import make_input_pipeline
from cifar_jax.training.losses import Metrics
from cifar_jax.training.steps import variables
from cifar_jax.utils.errors import UserError

# The weight of the losses before in the running mean, which lags some 20 updates behind; fastai's
# 0.98 lags 50, a decade of rates where 300 updates rise over seven.
SMOOTHING = 0.95
DIVERGED = 4.0  # as in fastai: the test ends at so many times the lowest smoothed loss
_FIRST_SHARE, _LAST = 0.1, 5  # points that fastai leaves out of its suggestions, at both ends
_SPAN = 10  # updates over which a slope is taken: that of one update is mostly chance
_FEWEST, _MOST = 30, 1_000_000
_RATES = 1e-30, 1e30  # that are exact enough in float32, a few factors of groups included


@dataclasses.dataclass(frozen=True)
class Measured:
  """What a range test saw, one value per update.

  Attributes:
    rates: The learning rate, before the factors of groups.
    losses: The mean loss of the batch, plain cross-entropy.
    smoothed: Its running mean, by `RunningMean`.
    end: Why it ended before the highest rate: 'diverged', 'not finite', 'stopped' or ''.
  """

  rates: list[float]
  losses: list[float]
  smoothed: list[float]
  end: str


@dataclasses.dataclass(frozen=True)
class Suggestion:
  """Two of fastai's rules; either may be far from the best rate.

  Attributes:
    steepest: The rate at which the smoothed loss falls fastest over the logarithm of the rate, as
      seen over ten updates.
    minimum: The rate of the lowest smoothed loss.
    falls: Whether the smoothed loss falls by more than three of its standard errors, as the
      scatter of the batches' losses about it says.
  """

  steepest: float
  minimum: float
  falls: bool

  @property
  def tenth(self) -> float:
    """A tenth of `minimum`, fastai's other rule."""
    return self.minimum / 10


def rising_rates(lowest: float, highest: float, steps: int, linear: bool = False) -> np.ndarray:
  """Rates from the lowest to the highest, float64 [steps], by equal factors or equal steps.

  Raises:
    UserError: They do not rise, are no numbers to train with, or are too few to see anything.
  """
  if not 0 < lowest < highest < math.inf:
    raise UserError(f'--lowest={lowest:g} must be above 0 and below --highest={highest:g}')
  if lowest < _RATES[0] or highest > _RATES[1]:
    raise UserError(
      f'--lowest={lowest:g}, --highest={highest:g}: rates go from {_RATES[0]:g} to {_RATES[1]:g}'
    )
  if not _FEWEST <= steps <= _MOST:
    raise UserError(f'--steps={steps}: a range test takes {_FEWEST} to {_MOST:,} updates')
  rise = np.linspace if linear else np.geomspace
  return rise(lowest, highest, steps)


class RunningMean:
  """s_t = 0.95 s_(t-1) + 0.05 loss_t, corrected for its start from 0."""

  def __init__(self) -> None:
    self._mean, self._count = 0.0, 0

  def add(self, loss: float) -> float:
    """The mean with one more loss."""
    self._mean = SMOOTHING * self._mean + (1 - SMOOTHING) * loss
    self._count += 1
    return self._mean / (1 - SMOOTHING**self._count)


def suggest(measured: Measured) -> Suggestion | None:
  """What two of fastai's rules make of a test; None if it ended too early for any.

  Points at both ends are left out, as there: the first tenth, and the last five where it diverged.
  """
  first = int(_FIRST_SHARE * len(measured.rates))
  last = len(measured.rates) - (_LAST if measured.end else 0)
  rates, losses, smoothed = (
    np.asarray(values[first:last])
    for values in (measured.rates, measured.losses, measured.smoothed)
  )
  if len(rates) <= _SPAN:
    return None
  falls = smoothed[_SPAN:] - smoothed[:-_SPAN]
  slopes = falls / (np.log(rates[_SPAN:]) - np.log(rates[:-_SPAN]))
  lowest = int(smoothed.argmin())
  # By the median, since single batches near the lowest point may be far off.
  scatter = 1.4826 * np.median(np.abs(losses - smoothed)[: lowest + 1])
  error = scatter * math.sqrt((1 - SMOOTHING) / (1 + SMOOTHING))
  return Suggestion(
    steepest=float(rates[slopes.argmin() + _SPAN // 2]),
    minimum=float(rates[lowest]),
    falls=bool(smoothed[0] - smoothed[lowest] > 3 * error),
  )


def make_optimizer(
  config: ConfigDict, rates: np.ndarray, plan: Plan
) -> tuple[optax.GradientTransformation, optax.Schedule]:
  """The optimizer of a config with given rates, and the rates as a schedule; groups multiply them
  by their own factors, and `schedule_epochs` of a group has nothing to squeeze.
  """
  table = jnp.asarray(rates, jnp.float32)

  def schedule(count: jax.typing.ArrayLike) -> jax.Array:
    return table[jnp.minimum(jnp.asarray(count, jnp.int32), len(table) - 1)]

  return optim.create(config.optimizer, lambda _: schedule, plan), schedule


def measure(
  config: ConfigDict,
  rates: np.ndarray,
  progress: Progress,
  stop: Callable[[], bool] = lambda: False,
) -> Measured:
  """Trains with rising rates until the last one, or until the loss diverges; writes nothing.

  Args:
    config: Locked; checked here.
    rates: One for each update, float64 [steps].
    stop: -> whether to end here.

  Raises:
    UserError: The config is wrong or there are no data.
  """
  configs.validate(config)
  splits = data.load_splits(config)
  trainer = _trainer(config, splits, rates)
  step_memory.prepare(trainer, splits)
  state = trainer.init()
  train = cached_features.make_substitute(trainer.recipe, variables(state))(splits.train)
  pipeline = make_input_pipeline(trainer, train, 0)
  losses: list[float] = []
  smoothed: list[float] = []
  mean, lowest = RunningMean(), math.inf
  end = ''
  progress.start('Range test', len(rates))
  try:
    for step in range(len(rates)):
      nothing = sharding.replicate(Metrics.empty(), trainer.mesh)
      state = dataclasses.replace(state, metrics=nothing)
      state, metrics = pipeline.update(state, step, 1, trainer.is_masked(step, 1))
      loss, accuracy, bad_step = jax.device_get((metrics.loss, metrics.accuracy, metrics.bad_step))
      if not math.isfinite(loss):
        end = 'not finite'
        break
      losses.append(float(loss))
      smoothed.append(mean.add(losses[-1]))
      lowest = min(lowest, smoothed[-1])
      progress.advance(1)
      progress.show(smoothed[-1], float(accuracy), None)
      if bad_step >= 0 or smoothed[-1] > DIVERGED * lowest:
        end = 'not finite' if bad_step >= 0 else 'diverged'
        break
      if stop():
        end = 'stopped'
        break
  finally:
    pipeline.close()
    progress.close()
  return Measured([float(rate) for rate in rates[: len(losses)]], losses, smoothed, end)


def _trainer(config: ConfigDict, splits: Splits, rates: np.ndarray) -> Trainer:
  """The trainer of a config for as many updates as there are rates, one for each."""
  changed = ConfigDict(config.copy_and_resolve_references())
  changed.schedule = ConfigDict({'name': 'constant'})
  changed.plateau.patience = changed.early_stopping.patience = 0
  changed.max_steps = len(rates)
  changed.epochs = len(rates)  # an epoch has an update at least
  trainer = build_trainer(changed.lock(), splits)
  optimizer, schedule = make_optimizer(changed, rates, trainer.plan)
  average = make_average(changed.weight_averaging, trainer.plan, schedule)
  recipe = dataclasses.replace(trainer.recipe, optimizer=optimizer, average=average)
  return dataclasses.replace(trainer, recipe=recipe, schedule=schedule)
