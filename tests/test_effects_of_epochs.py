"""Options that act at the end of an epoch or of a run, each changed alone in whole runs of a linear
network: what they do, and that the updates which both runs make stay the same to the last bit.
"""

import copy
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.data import Splits
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop
from cifar_jax.trainer.build import Trainer, build_trainer
from configs import base
from tests.helpers.effects import config_of
from tests.helpers.runs import rows_of
from tests.helpers.shared_trainers import trainers_shared

# Six epochs of one update each, on labels of chance: what is learned does not hold for others, so
# that the loss of training falls and that of validation does not.
RUN = {'epochs': 6, 'batch_size': 24, 'optimizer.learning_rate': 0.05}
STOPPING = {**RUN, 'early_stopping.patience': 1, 'early_stopping.min_delta': 9.0}
PLATEAU = {**RUN, 'plateau.patience': 1, 'plateau.min_delta': 9.0, 'plateau.factor': 0.5}

# No program depends on them, but for whether there is a plateau: see test_effects.py.
HOST = (
  *('early_stopping.', 'plateau.', 'checkpoint.', 'profile.', 'tags', 'tensorboard'),
  *('evaluate.every_epochs', 'evaluate.max_misclassified', 'evaluate.images_every_epochs'),
  'evaluate.test',
)


class Run(NamedTuple):
  """What a run left behind: the rows of metrics.csv, and the files of its folder."""

  rows: list[dict[str, str]]
  files: tuple[str, ...]

  @property
  def epochs(self) -> int:
    return len(self.rows)

  @property
  def rates(self) -> list[float]:
    return [float(row['learning_rate']) for row in self.rows]

  @property
  def train_losses(self) -> list[str]:
    return [row['train_loss'] for row in self.rows]

  @property
  def kept(self) -> list[str]:
    return [name for name in self.files if name.startswith('checkpoints/')]

  @property
  def best(self) -> list[str]:
    return [name for name in self.files if name.startswith('best/')]


Runs = Callable[[Mapping[str, Any]], Run]


def sharing_programs() -> Callable[[ConfigDict, Splits], Trainer]:
  """A `build_trainer` whose trainers have their programs in common as far as configs allow."""
  made: dict[str, Trainer] = {}

  def build(config: ConfigDict, splits: Splits) -> Trainer:
    options = [option for option in configs.flatten(config) if not option[0].startswith(HOST)]
    key = repr((sorted(options), bool(config.plateau.patience)))
    if key not in made:
      made[key] = build_trainer(config, splits)
      for name, value in vars(Trainer).items():
        if isinstance(value, functools.cached_property):
          getattr(made[key], name)
    trainer = copy.copy(made[key])
    vars(trainer)['config'] = config
    return trainer

  return build


@pytest.fixture(scope='module')
def runs(tmp_path_factory) -> Iterator[Runs]:
  """options -> what the run of six epochs left; each is trained once."""
  folder = tmp_path_factory.mktemp('epochs')
  generator = np.random.default_rng(1)

  def part(count: int) -> tuple[np.ndarray, np.ndarray]:
    return generator.integers(0, 256, (count, 8, 8, 3), np.uint8), generator.integers(0, 4, count)

  (x_train, y_train), (x_test, y_test) = part(32), part(16)
  np.savez(folder / 'one.npz', x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
  made: dict[str, Run] = {}

  def run(options: Mapping[str, Any]) -> Run:
    key = repr(sorted(options.items()))
    if key not in made:
      path = folder / str(len(made))
      loop.train(config_of(folder, options), path, Progress('silent'))
      files = [file for file in path.rglob('*') if len(file.relative_to(path).parts) < 3]
      made[key] = Run(rows_of(path), tuple(sorted(str(file.relative_to(path)) for file in files)))
    return made[key]

  with trainers_shared(), pytest.MonkeyPatch.context() as patch:
    patch.setattr(loop, 'build_trainer', sharing_programs())
    yield run


def test_the_runs_are_what_the_tests_need(runs) -> None:
  rows = runs(RUN).rows
  training, validation = ([float(row[name]) for row in rows] for name in ('train_loss', 'val_loss'))
  assert training == sorted(training, reverse=True)
  assert min(validation) < validation[-1]


STOPS = [
  # An epoch must be better than the best before by 9, so none after the first is.
  ('early_stopping.patience', 0, STOPPING, 2, 6),
  ('early_stopping.patience', 3, STOPPING, 2, 4),
  ('early_stopping.patience_semantics', 'keras2.0', STOPPING, 2, 3),
  ('early_stopping.min_delta', 0.0, {**STOPPING, 'early_stopping.monitor': 'train_loss'}, 2, 6),
  (
    'early_stopping.monitor',
    'train_loss',
    {**STOPPING, 'early_stopping.min_delta': 0.0},
    None,
    6,
  ),
]
STOPPED = {option for option, *_ in STOPS}


def daily(cases: list[tuple]) -> list[Any]:
  """What is watched, and by how much it has to change, is thorough: tests/training counts it."""
  late = ('.monitor', '.min_delta')
  return [
    pytest.param(*case, marks=pytest.mark.thorough if case[0].endswith(late) else ())
    for case in cases
  ]


@pytest.mark.parametrize(('option', 'value', 'context', 'before', 'after'), daily(STOPS))
def test_when_a_run_stops(runs, option, value, context, before, after) -> None:
  first, second = runs(context), runs({**context, option: value})
  assert second.epochs == after
  assert first.epochs == before if before else first.epochs < after
  both = min(first.epochs, second.epochs)
  assert first.rows[:both] == second.rows[:both]


RATES = [
  # The rate of each epoch, over the rate at first: lowered after every epoch but the first.
  ('plateau.factor', 0.5, PLATEAU, [1, 1, 0.5, 0.25, 0.125, 0.0625]),
  ('plateau.factor', 0.1, PLATEAU, [1, 1, 0.1, 0.01, 0.001, 0.0001]),
  ('plateau.patience', 2, PLATEAU, [1, 1, 1, 0.5, 0.5, 0.25]),
  ('plateau.cooldown', 2, PLATEAU, [1, 1, 0.5, 0.5, 0.25, 0.25]),
  ('plateau.min_learning_rate', 0.02, PLATEAU, [1, 1, 0.5, 0.4, 0.4, 0.4]),
  ('plateau.patience_semantics', 'keras2.0', PLATEAU, [1, 1, 1, 0.5, 0.25, 0.125]),
  ('plateau.patience', 0, PLATEAU, [1, 1, 1, 1, 1, 1]),
  ('plateau.min_delta', 0.0, {**PLATEAU, 'plateau.monitor': 'train_loss'}, [1, 1, 1, 1, 1, 1]),
  (
    'plateau.monitor',
    'train_loss',
    {**PLATEAU, 'plateau.min_delta': 0.0},
    [1, 1, 1, 1, 1, 1],
  ),
]
RATED = {option for option, *_ in RATES}


@pytest.mark.parametrize(('option', 'value', 'context', 'factors'), daily(RATES))
def test_what_a_plateau_does_to_the_rate(runs, option, value, context, factors) -> None:
  first, second = runs(context), runs({**context, option: value})
  rate = context['optimizer.learning_rate']
  assert second.rates == pytest.approx([rate * factor for factor in factors])
  if second != first:
    assert first.rates != second.rates
    equal = [a == b for a, b in zip(first.rates, second.rates, strict=True)].index(False)
    assert first.rows[:equal] == second.rows[:equal]
    # Most lines have the loss of a later update than that with another rate.
    assert equal > 4 or first.train_losses[equal + 1 :] != second.train_losses[equal + 1 :]


# Option -> its other value, the options among which it acts, and what it changes of the rest.
OTHERWISE: dict[str, tuple[Any, Mapping[str, Any], Callable[[Run], Any]]] = {
  'evaluate.every_epochs': (3, RUN, lambda run: [row['val_loss'] for row in run.rows]),
  'evaluate.drop_remainder': (
    True,
    {**RUN, 'batch_size': 6, 'data.validation': '14'},
    lambda run: [row['val_loss'] for row in run.rows],
  ),
  'evaluate.tta': ('flip', RUN, lambda run: [row['val_loss'] for row in run.rows]),
  'evaluate.tta_fraction': (
    0.25,
    {**RUN, 'evaluate.tta': 'flip'},
    lambda run: [row['val_loss'] for row in run.rows],
  ),
  'checkpoint.every_epochs': (3, {**RUN, 'checkpoint.keep': 9}, lambda run: run.kept),
  'checkpoint.every_steps': (
    1,
    {**RUN, 'batch_size': 12, 'checkpoint.every_epochs': 0, 'checkpoint.keep': 9},
    lambda run: run.kept,
  ),
  'checkpoint.keep': (4, RUN, lambda run: run.kept),
  'checkpoint.best': ('val_loss', RUN, lambda run: run.best),
}


# test_effects.py evaluates with both.
EVALUATED = ('evaluate.drop_remainder', 'evaluate.tta')


@pytest.mark.parametrize(
  'option',
  [
    pytest.param(option, marks=pytest.mark.thorough if option in EVALUATED else ())
    for option in sorted(OTHERWISE)
  ],
)
def test_what_changes_beside_training(runs, option) -> None:
  value, context, look = OTHERWISE[option]
  first, second = runs(context), runs({**context, option: value})
  assert first.train_losses == second.train_losses
  assert look(first) != look(second)


def test_what_leaves_all_but_its_own_files_as_it_is(runs) -> None:
  """All at once; the profile is below tensorboard/."""
  changed = {
    **{
      'tags': ('a',),
      'evaluate.max_misclassified': 1,
      'evaluate.test': False,
      'checkpoint.read_back': True,
      'profile.steps': 1,
      'profile.after_steps': 2,
    },
    **{'tensorboard': True, 'evaluate.images_every_epochs': 1},
  }
  first, second = runs(RUN), runs({**RUN, **changed})
  assert first.rows == second.rows
  assert (first.kept, first.best) == (second.kept, second.best)
  assert any(name.startswith('tensorboard/') for name in second.files)
  third = runs({**RUN, 'profile.steps': 1, 'profile.after_steps': 99})  # after the end
  assert not any(name.startswith('tensorboard/') for name in third.files)


def test_every_option_of_these_sections_is_here() -> None:
  sections = ('early_stopping.', 'plateau.', 'evaluate.', 'checkpoint.', 'profile.')
  options = {key for key, _ in configs.flatten(base.get_config()) if key.startswith(sections)}
  tested = {
    *OTHERWISE,
    *STOPPED,
    *RATED,
    'evaluate.max_misclassified',
    'evaluate.test',
    'checkpoint.read_back',
    'profile.steps',
    'profile.after_steps',
  }
  # Pictures need TensorBoard: tests/report/test_epoch_images.py.
  assert options - tested == {'evaluate.images_every_epochs'}
