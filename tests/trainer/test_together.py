"""Runs in one program: the same batches as singly, parameters the same up to rounding, and one run
after another interruption, NaN or loss of files what it would have been.
"""

import contextlib
import dataclasses
import json
import pathlib
import shutil
from collections.abc import Callable, Iterator

import jax
import numpy as np
import pytest

from cifar_jax import data
from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop, run_group, together, together_rules
from cifar_jax.trainer.build import build_trainer
from cifar_jax.trainer.input_pipeline import make_input_pipeline
from cifar_jax.trainer.many_programs import ManyPrograms
from cifar_jax.utils.errors import UserError
from tests.helpers.before_step import Crash, crash
from tests.helpers.runs import (
  SILENT,
  assert_as_uninterrupted,
  assert_close,
  assert_identical,
  changed,
  rows_of,
  state_of,
)
from tests.helpers.tiny import LINEAR, ONE_CONVOLUTION

pytestmark = pytest.mark.usefixtures('shared_trainers')

SGD = {**LINEAR, 'optimizer.name': 'sgd', 'optimizer.momentum': 0.9, 'data.validation_from': 'last'}
RATES = (0.01, 0.03, 0.1)


def with_rates(config, rates=RATES, **values) -> list:
  """Three runs of a linear network, whose seeds and rates differ."""
  return [
    changed(config, **{**SGD, 'seed': seed, 'optimizer.learning_rate': rate, **values})
    for seed, rate in enumerate(rates)
  ]


def folders(path: pathlib.Path) -> list[pathlib.Path]:
  return [path / f'seed_{seed}' for seed in range(3)]


@contextlib.contextmanager
def before_step(step: int, act: Callable[[], object]) -> Iterator[None]:
  """Calls `act(group)` when update number `step` is about to be dispatched, all files written."""
  dispatch = run_group.RunGroup._dispatch

  def acting(self, state, order, current, *rest):
    if current == step:
      for lane in self._lanes:
        lane.session.background.wait()
      act(self)
    return dispatch(self, state, order, current, *rest)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(run_group.RunGroup, '_dispatch', acting)
    yield


def ask_to_stop(group) -> None:
  group._stop.asked = True


@pytest.fixture(scope='module')
def whole(tmp_path_factory, tiny_data) -> pathlib.Path:
  """Three runs with rates of their own, trained together to their end."""
  from tests.helpers import tiny
  from tests.helpers.shared_trainers import trainers_shared

  config = tiny.get_config()
  config.data.dir = str(tiny_data)
  path = tmp_path_factory.mktemp('whole')
  with trainers_shared():
    together.train(with_rates(config.lock()), folders(path), SILENT)
  return path


@pytest.mark.parametrize(
  'network',
  [
    pytest.param({**LINEAR, 'model.head': ('flatten', 'dropout 0.5')}, id='linear'),
    pytest.param({}, id='convolution', marks=pytest.mark.thorough),
  ],
)
def test_a_run_is_what_it_is_singly_up_to_rounding(
  network, tiny_config, tmp_path, monkeypatch
) -> None:
  """Images held out by the seed, augmentation, dropout and momentum: 12 updates of each. The test
  images, which are the same for all, are on the device once.
  """
  evaluate, measured_on = ManyPrograms.evaluate, []

  def noted(self, state, placed):
    measured_on.append(tuple(part.shape for part in placed))
    return evaluate(self, state, placed)

  monkeypatch.setattr(ManyPrograms, 'evaluate', noted)
  config = changed(tiny_config, epochs=2, **{**ONE_CONVOLUTION, **network})
  several = [changed(config, seed=seed) for seed in (3, 4)]
  runs = [tmp_path / 'together' / str(seed) for seed in (3, 4)]
  results = together.train(several, runs, SILENT)
  single = loop.train(several[1], tmp_path / 'single', SILENT)
  # float32: 12 updates of relative rounding 6e-8 each, grown a little; another mask of dropout or
  # another batch would make a difference of 1e-2.
  assert_close(state_of(several[1], tmp_path / 'single'), state_of(several[1], runs[1]), 2e-6)
  for left, right in zip(rows_of(tmp_path / 'single'), rows_of(runs[1]), strict=True):
    for name in left:
      assert float(left[name]) == pytest.approx(float(right[name]), rel=1e-5), name
  assert results[1].keys() - single.keys() == {'runs_together'}
  assert results[1]['runs_together'] == 2
  for name in ('val_loss', 'test_loss', 'test_accuracy'):
    assert results[1][name] == pytest.approx(single[name], rel=1e-5), name
  images = (8, 8, 3)
  assert measured_on == [((2, 20, *images), (2, 20))] * 2 + [((90, *images), (90,))]
  assert json.loads((runs[1] / 'summary.json').read_text()) == {'format': 2, **results[1]}
  names = [{at.name for at in run.iterdir()} for run in (tmp_path / 'single', runs[1])]
  assert names[0] == names[1] > {'config.json', 'about.json', 'metrics.csv', 'checkpoints', 'best'}
  assert loop.train(several[1], runs[1], SILENT) == results[1]  # has finished


@pytest.mark.thorough
def test_batches_are_exactly_those_of_single_runs(tiny_config) -> None:
  """Order and augmentation of two updates of two seeds, pixel by pixel."""
  config = changed(tiny_config, **{**ONE_CONVOLUTION, **LINEAR})
  seen: list[tuple[bytes, bytes]] = []

  def note(*arrays) -> None:
    seen.append(tuple(np.asarray(array).tobytes() for array in arrays))

  def recorded(trainer):
    def augment(step_key, example_key, images, indices, epoch):
      found = trainer.recipe.augment(step_key, example_key, images, indices, epoch)
      jax.debug.callback(note, indices, found)
      return found

    recipe = dataclasses.replace(trainer.recipe, augment=augment)
    return dataclasses.replace(trainer, recipe=recipe)

  splits = data.load_splits(changed(config, **{'data.validation_from': 'last'}))
  several = [recorded(build_trainer(changed(config, seed=seed), splits)) for seed in (3, 4)]
  for trainer in several:
    pipeline = make_input_pipeline(trainer, splits.train, 0)
    state = trainer.init()
    for step in range(2):
      state, _ = pipeline.update(state, step, 1, masked=False)
    jax.effects_barrier()
  singly = sorted(seen)
  seen.clear()
  programs = ManyPrograms(several[0], lambda run: several[0].recipe, 2, own_data=False)
  keys = programs.stack([trainer.keys for trainer in several])
  order = programs.epoch_order(keys, np.int32(0))
  state = programs.stack([several[0].init(trainer.keys) for trainer in several])
  for _ in range(2):
    state, _ = programs.train_steps(1)(
      programs.indices, keys, state, *programs.place([splits.train]), order, masked=False
    )
  jax.effects_barrier()
  assert len(singly) == len(set(singly)) == 4
  assert sorted(seen) == singly


@pytest.mark.thorough
def test_interrupted_and_gone_on_is_bit_for_bit_as_never_interrupted(
  tiny_config, whole, tmp_path, capsys
) -> None:
  """In the middle of an epoch, then by a crash, after which one run lacks its last checkpoint."""
  several, runs = with_rates(tiny_config), folders(tmp_path)
  with before_step(7, ask_to_stop):
    assert together.train(several, runs, Progress('lines')) == [{}, {}, {}]
  assert 'stopped after step 8 of 18 and saved' in capsys.readouterr().out
  with before_step(14, lambda _: crash()), pytest.raises(Crash):
    together.train(several, runs, SILENT)
  shutil.rmtree(runs[1] / 'checkpoints' / '12')
  found = []
  with before_step(8, lambda group: found.extend(lane.step for lane in group._lanes)):
    together.train(several, runs, SILENT)
  assert found == [12, 8, 12]  # the one that is behind catches up
  for config, run, uninterrupted in zip(several, runs, folders(whole), strict=True):
    assert_as_uninterrupted(config, run, uninterrupted)


@pytest.mark.thorough
def test_a_run_begun_together_goes_on_singly(tiny_config, whole, tmp_path) -> None:
  several, runs = with_rates(tiny_config), folders(tmp_path)
  with before_step(9, ask_to_stop):
    together.train(several, runs, SILENT)
  results = loop.train(several[2], runs[2], SILENT)
  assert 'runs_together' not in results
  assert_close(state_of(several[2], folders(whole)[2]), state_of(several[2], runs[2]), 2e-6)


@pytest.mark.thorough
def test_nan_ends_one_run_and_leaves_the_others_as_they_are(
  tiny_config, whole, tmp_path, capsys
) -> None:
  several, runs = with_rates(tiny_config, (0.01, 1e38, 0.1)), folders(tmp_path)
  found = together.train(several, runs, Progress('lines'))
  said = capsys.readouterr().out
  assert isinstance(found[1], UserError)
  assert 'NaN or infinite in step' in str(found[1])
  assert f'{runs[1]} ends here, the others go on: the loss or' in said
  assert '1 of 3 runs ended before: not finite' in said
  assert not (runs[1] / 'summary.json').exists()
  with Checkpoints(runs[1], read_only=True) as checkpoints:
    assert checkpoints.latest() is None
  for at in (0, 2):
    assert_identical(state_of(several[at], runs[at]), state_of(several[at], folders(whole)[at]))
    assert rows_of(runs[at]) == rows_of(folders(whole)[at])
  # As by itself.
  with pytest.raises(UserError) as error:
    loop.train(several[1], tmp_path / 'single', SILENT)
  assert str(error.value).replace('single', 'seed_1') == str(found[1])


@pytest.mark.thorough
def test_numbers_are_those_of_each_run(tiny_config, whole, tmp_path) -> None:
  """The rate in metrics.csv and the weights: run 1 by itself has a third of the rate of run 2."""
  several = with_rates(tiny_config)
  assert [row['learning_rate'] for run in folders(whole) for row in rows_of(run)[:1]] == [
    str(float(np.float32(rate))) for rate in RATES
  ]
  loop.train(several[2], tmp_path, SILENT)
  assert_close(state_of(several[2], tmp_path), state_of(several[2], folders(whole)[2]), 2e-6)


@pytest.mark.thorough
def test_decay_momentum_smoothing_and_schedule_differ_too(tiny_config, tmp_path) -> None:
  several = [
    changed(config, **values)
    for config, values in zip(
      with_rates(tiny_config, **{'optimizer.weight_decay': 1e-3}),
      (
        {'loss.label_smoothing': 0.2, 'schedule.name': 'cosine'},
        {'optimizer.weight_decay': 0.0, 'optimizer.momentum': 0.5},
        {'schedule.name': 'warmup_cosine', 'schedule.warmup_epochs': 1.5},
      ),
      strict=True,
    )
  ]
  together.train(several, folders(tmp_path / 'together'), SILENT)
  for config, run in zip(several, folders(tmp_path / 'together'), strict=True):
    loop.train(config, tmp_path / run.name, SILENT)
    assert_close(state_of(config, tmp_path / run.name), state_of(config, run), 5e-6)


def test_what_cannot_be_together_is_refused_before_anything_is_written(
  tiny_config, tmp_path
) -> None:
  several = with_rates(tiny_config)
  several[1] = changed(several[1], batch_size=20)
  with pytest.raises(together.NotTogetherError, match='one program: they differ in batch_size'):
    together.train(several, folders(tmp_path), SILENT)
  whitened = [changed(tiny_config, seed=s, **{'data.normalize': 'channel'}) for s in range(2)]
  with pytest.raises(together.NotTogetherError, match='each seed holds out other images'):
    together.train(whitened, folders(tmp_path)[:2], SILENT)
  convolution = [changed(tiny_config, seed=seed) for seed in range(2)]
  with pytest.raises(together.NotTogetherError, match='a convolution uses all cores'):
    together.train(convolution, folders(tmp_path)[:2], SILENT, only_if_faster=True)
  assert list(tmp_path.iterdir()) == []


def test_seeds_that_hold_out_other_numbers_of_images_are_refused(tiny_config, tmp_path) -> None:
  """Up to 20 in groups of 7 and 11 equal images are 14 or 18."""
  images, labels = np.arange(40, dtype=np.uint8).repeat(192).reshape(40, 8, 8, 3), np.arange(40) % 4
  sizes = np.array([7, 7, 7, 11] * 10)
  parts = {'x_train': images.repeat(sizes, 0), 'y_train': labels.repeat(sizes)}
  np.savez(tmp_path / 'grouped.npz', **parts, x_test=images, y_test=labels)
  options = {'data.name': 'npz', 'data.dir': str(tmp_path / 'grouped.npz')}
  config = changed(tiny_config, **LINEAR, **options, **{'data.keep_duplicates_together': True})
  several = [changed(config, seed=seed) for seed in range(4)]
  assert {len(data.load_splits(one).validation) for one in several} == {14, 18}
  with pytest.raises(together.NotTogetherError, match='each seed holds out another number of'):
    together.train(several, [tmp_path / str(seed) for seed in range(4)], SILENT)
  assert [at.name for at in tmp_path.iterdir()] == ['grouped.npz']


def test_too_little_memory_in_the_end_is_one_sentence(tiny_config, tmp_path) -> None:
  def exhausted(group) -> None:
    raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: out of memory')

  with (
    before_step(0, exhausted),
    pytest.raises(UserError, match='3 runs in one program need more memory than was foreseen'),
  ):
    together.train(with_rates(tiny_config), folders(tmp_path), SILENT)


@pytest.mark.thorough
def test_groups_of_what_fits_are_trained_one_after_the_other(
  tiny_config, whole, tmp_path, monkeypatch
) -> None:
  monkeypatch.setattr(together.together_rules, 'most_that_fit', lambda *_: 2)
  several, runs = with_rates(tiny_config), folders(tmp_path)
  results = together.train(several, runs, SILENT)
  assert [found.get('runs_together', 1) for found in results] == [2, 2, 1]
  for at in range(3):
    one, other = (state_of(several[at], where) for where in (runs[at], folders(whole)[at]))
    assert_close(one, other, 2e-6)


def test_what_runs_need_at_the_least(tiny_config) -> None:
  """Images of 192 bytes: 200 of each run, to train on and held out, with 90 test images once."""
  trainer = build_trainer(tiny_config, splits := data.load_splits(tiny_config))
  own, shared = (together_rules.lower_bound(trainer, splits, own, 2) for own in (True, False))
  assert own(1) == shared(1) > 290 * 192
  assert own(5) - shared(5) == 4 * 200 * 192


@pytest.mark.thorough
def test_the_memory_of_a_program_is_at_least_what_it_holds(tiny_config) -> None:
  """180 images of 192 bytes and their labels and those that are measured on, shared or not, and two
  copies of each state.
  """
  config = changed(tiny_config, **SGD)
  trainer = build_trainer(config, splits := data.load_splits(config))
  state = sum(leaf.nbytes for leaf in jax.tree.leaves(trainer.init()))
  found = {
    (runs, own): ManyPrograms(trainer, lambda run: trainer.recipe, runs, own).bytes_needed(splits)
    for runs, own in ((2, False), (4, False), (4, True))
  }
  validation, test = splits.validation.images.nbytes, splits.test.images.nbytes
  images = 180 * (192 + 4) + validation
  assert found[2, False] >= images + test + 2 * 2 * state
  assert found[4, False] - found[2, False] >= 2 * 2 * state
  assert 3 * images <= found[4, True] - found[4, False] < 3 * images + test
