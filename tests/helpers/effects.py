"""What the first updates of a config come to, and what an option changes in them."""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax import data
from cifar_jax.trainer.build import Trainer, build_trainer
from cifar_jax.trainer.input_pipeline import make_input_pipeline
from cifar_jax.training.steps import TrainState
from cifar_jax.utils.errors import UserError
from tests.helpers import tiny

STEPS = 3
# A linear network on 24 images of 8x8 pixels in three batches: each program compiles fast.
LINEAR = {
  'epochs': 1,
  'batch_size': 8,
  'data.validation': '8',
  'model.widths': (),
  'model.block': (),
  'model.head': ('flatten',),
  'optimizer.name': 'sgd',
  'optimizer.learning_rate': 0.1,
}
CONVOLUTION = {'model.widths': (4,), 'model.block': ('conv3', 'batch_norm')}


@dataclasses.dataclass(frozen=True)
class Outcome:
  """The first updates of a run.

  Attributes:
    losses: The training loss after each update, in the epoch so far.
    state: The state after the last update, on the host.
    evaluate: () -> loss and accuracy on the validation split and how many examples it has.
  """

  losses: tuple[float, ...]
  state: TrainState
  evaluate: Callable[[], dict[str, float]]


def config_of(directory: pathlib.Path, options: Mapping[str, Any]) -> ConfigDict:
  """The linear network's config with some options, 'data.dir' below the directory."""
  values = {**LINEAR, 'data.dir': 'one.npz', **options}
  values['data.dir'] = str(directory / values['data.dir']) if values['data.dir'] else ''
  config = tiny.get_config()
  if values.get('model.name', 'conv_net') != 'conv_net':
    config.model = ConfigDict({'name': ''})
    values = {k: v for k, v in values.items() if k not in LINEAR or not k.startswith('model.')}
  groups = values.pop('optimizer.groups', None)
  config.update_from_flattened_dict(values)
  if groups:
    config.optimizer.groups = ConfigDict(groups)
  return config.lock()


def train(config: ConfigDict, steps: int = STEPS) -> Outcome:
  """Makes the first updates by the same parts, in the same order, as `loop.train`."""
  configs.validate(config)
  splits = data.load_splits(config)
  trainer = build_trainer(config, splits)
  state = trainer.init()
  losses = []
  with contextlib.closing(make_input_pipeline(trainer, splits.train, 0)) as feed:
    step = 0
    while step < min(steps, trainer.total_steps):
      count = trainer.dispatch_length(step, feed.supports_scan)
      position = step % trainer.steps_per_epoch
      masked = trainer.recipe.short_last_batch and position + count == trainer.steps_per_epoch
      state, report = feed.update(state, step, count, masked)
      step += count
      losses.append(float(report.loss))
  return Outcome(
    tuple(losses),
    jax.device_get(state),
    functools.cache(functools.partial(_evaluate, trainer, state, splits.validation)),
  )


def _evaluate(trainer: Trainer, state: TrainState, split: data.Split) -> dict[str, float]:
  measured = trainer.evaluate(state, trainer.evaluate.place(split))
  return {**measured, 'examples': len(split)}


class Effects:
  """Outcomes of configs on the data in a directory, each made once."""

  def __init__(self, directory: pathlib.Path):
    self.directory = directory
    self._outcomes: dict[str, Outcome | str] = {}

  def __call__(self, options: Mapping[str, Any], steps: int = STEPS) -> Outcome | str:
    """The outcome, or the sentence with which the config is refused."""
    key = repr((sorted(options.items(), key=str), steps))
    if key not in self._outcomes:
      try:
        self._outcomes[key] = train(config_of(self.directory, options), steps)
      except UserError as error:
        self._outcomes[key] = str(error)
    return self._outcomes[key]


def learned(outcome: Outcome | str) -> Any:
  """The arrays that training has made: parameters, statistics and averages."""
  assert isinstance(outcome, Outcome), outcome
  return outcome.state.params, outcome.state.batch_stats, outcome.state.averaged


def same(left: Outcome | str, right: Outcome | str, rounding: float = 0.0) -> bool:
  """Whether two trainings came to the same, to the last bit or within a relative rounding."""
  assert isinstance(left, Outcome), left
  assert isinstance(right, Outcome), right
  # A dispatch of several updates reports the last loss alone.
  pairs = [(left.losses[-1], right.losses[-1])]
  if len(left.losses) == len(right.losses):
    pairs = list(zip(left.losses, right.losses, strict=True))
  a, b = jax.tree.leaves(learned(left)), jax.tree.leaves(learned(right))
  if [np.shape(x) for x in a] != [np.shape(x) for x in b]:
    return False
  pairs += list(zip(a, b, strict=True))
  if rounding:
    return all(np.allclose(x, y, rtol=rounding, atol=rounding) for x, y in pairs)
  return all(np.array_equal(x, y) for x, y in pairs)
