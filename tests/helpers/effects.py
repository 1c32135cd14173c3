"""What the first updates of a config come to, and what an option changes in them."""

import contextlib
import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from cifar_jax import config as configs
from cifar_jax import data
from cifar_jax.devices.compilation_cache import keep_compiled_programs
from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.trainer.build import Trainer, build_trainer
from cifar_jax.trainer.input_pipeline import make_input_pipeline
from cifar_jax.training.steps import TrainState
from cifar_jax.utils.errors import UserError
from tests.helpers import tiny
from tests.helpers.picture_files import picture, write_tree

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
COSINE = {'schedule.name': 'cosine'}
EVERY_STEP = {'weight_averaging.every_steps': 1}


class Case(NamedTuple):
  """An option's other value, and the options among which it acts."""

  value: Any
  context: Mapping[str, Any] = MappingProxyType({})
  steps: int = 3


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
  """The linear network's config with some options, its paths below the directory."""
  values = {**LINEAR, 'data.dir': 'one.npz', **options}
  for name in ('data.dir', 'init_from'):
    values[name] = str(directory / values[name]) if values.get(name) else ''
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


def images_and_labels(generator: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
  return generator.integers(0, 256, (count, 8, 8, 3), np.uint8), np.arange(count) % 4


@contextlib.contextmanager
def made_in(folder: pathlib.Path) -> Iterator[Effects]:
  """Outcomes on 32 images of noise, on photographs that are not square, and of a run to start from.

  Programs are compiled with few optimizations, and equal ones once: there are many, and each runs
  three times.
  """
  generator = np.random.default_rng(0)
  for name in ('one', 'two'):
    images, labels = images_and_labels(generator, 48)
    train, test = slice(0, 32), slice(32, 48)
    arrays: dict[str, Any] = {'x_train': images[train], 'y_train': labels[train]}
    arrays |= {'x_test': images[test], 'y_test': labels[test]}
    np.savez(folder / f'{name}.npz', **arrays)
    if name == 'one':
      np.savez(folder / 'copy.npz', **arrays)
      twins = {'x_train': np.repeat(arrays['x_train'][:8], 4, 0)}
      twins['y_train'] = np.repeat(arrays['y_train'][:8], 4)
      np.savez(folder / 'twins.npz', **{**arrays, **twins})
      np.savez(folder / 'grouped.npz', **arrays, groups=np.arange(32) // 4)
  counts = {'train/cats': 16, 'train/dogs': 16, 'test/cats': 4, 'test/dogs': 4}
  write_tree(folder / 'photographs', counts)
  write_tree(folder / 'damaged', counts)
  (folder / 'damaged/train/cats/000.png').write_bytes(b'\x89PNG')
  large = picture(99, 60, 60)
  assert isinstance(large, Image.Image)
  large.save(folder / 'damaged/train/dogs/001.png')
  keep_compiled_programs()
  shortest = jax.config.values['jax_persistent_cache_min_compile_time_secs']
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
  before = jax.config.values['jax_disable_most_optimizations']
  jax.config.update('jax_disable_most_optimizations', True)
  found = Effects(folder)
  start = found({'seed': 7})
  assert isinstance(start, Outcome)
  with Checkpoints(folder / 'run', 1) as checkpoints:
    checkpoints.save(start.state, {}, best=True)
  configs.save(config_of(folder, {'seed': 7}), folder / 'run')
  yield found
  jax.config.update('jax_persistent_cache_min_compile_time_secs', shortest)
  jax.config.update('jax_disable_most_optimizations', before)
