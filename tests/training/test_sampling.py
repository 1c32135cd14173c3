"""Balanced sampling: every class as likely, by (seed, epoch) alone, on any number of devices."""

import jax
import numpy as np
import pytest
from scipy import stats

from cifar_jax import data
from cifar_jax.devices import sharding
from cifar_jax.trainer import loop, together
from cifar_jax.trainer.build import build_trainer
from cifar_jax.trainer.host_batches import train_batches
from cifar_jax.training import sampling, steps
from cifar_jax.training.sampling import make_balanced_draw
from tests.helpers import tiny
from tests.helpers.npz_files import write
from tests.helpers.pure_steps import Linear, recipe_of
from tests.helpers.runs import SILENT, assert_identical, changed, state_of, trainer_on

LABELS = np.random.default_rng(0).permutation(np.repeat([0, 1, 3], [3, 40, 7])).astype(np.int32)


@pytest.fixture(scope='module')
def order():
  """epoch -> what 60 batches of 50 are made of."""
  recipe = recipe_of(Linear(), examples=3000, batch_size=50, draw=make_balanced_draw(LABELS))
  compiled = jax.jit(sampling.make_epoch_order(recipe))
  return lambda seed, epoch: np.asarray(compiled(steps.random_keys(seed), epoch))


def test_every_class_is_as_likely_and_in_it_every_example(order) -> None:
  drawn = np.concatenate([order(0, epoch) for epoch in range(4)])
  assert drawn.dtype == np.int32
  counts = np.bincount(drawn, minlength=50)
  assert len(counts) == 50
  of_class = [counts[label == LABELS] for label in (0, 1, 3)]
  # Chances of so uneven numbers, were each as likely; a bias of a tenth would be far below.
  assert stats.chisquare([part.sum() for part in of_class]).pvalue > 0.001
  assert min(stats.chisquare(part).pvalue for part in of_class) > 0.001


def test_it_follows_from_seed_and_epoch_alone(order) -> None:
  first = order(1, 2)
  np.testing.assert_array_equal(order(1, 2), first)
  assert not np.array_equal(order(1, 3), first)
  assert not np.array_equal(order(2, 2), first)


def test_batches_are_the_same_on_devices_and_host(tiny_config) -> None:
  """With a short last batch, whose other rows do not count."""
  values = {'data.sampling': 'balanced', 'batch_size': 32, **tiny.LINEAR}
  orders = []
  for devices in (1, 8):
    trainer, splits = trainer_on(tiny_config, devices, **values)
    epoch = sharding.replicate(np.int32(1), trainer.mesh)
    orders.append(np.asarray(trainer.epoch_order(trainer.keys, epoch)))
  np.testing.assert_array_equal(*orders)
  assert len(set(orders[0].tolist())) < len(splits.train)  # with replacement
  for step, batch in enumerate(train_batches(trainer.recipe, 0, splits.train, trainer.mesh, 6, 12)):
    np.testing.assert_array_equal(batch.indices, orders[0][32 * step : 32 * step + 32])


@pytest.mark.thorough
@pytest.mark.parametrize('parallel', ['jit', 'pmap'])
def test_a_stopped_run_goes_on_with_the_same_batches(tiny_config, tmp_path, parallel) -> None:
  options = {'data.sampling': 'balanced', 'loss.class_weights': ('balanced',), 'epochs': 2}
  config = changed(tiny_config, parallel=parallel, batch_size=32, **options, **tiny.LINEAR)
  loop.train(config, tmp_path / 'whole', SILENT)
  loop.train(changed(config, max_steps=4), tmp_path / 'run', SILENT)
  loop.train(config, tmp_path / 'run', SILENT)
  assert_identical(state_of(config, tmp_path / 'run'), state_of(config, tmp_path / 'whole'))


def test_balanced_weights_follow_from_the_images_that_are_trained_on(tiny_config, tmp_path) -> None:
  """Of three classes with 4, 2 and 1 images left; the loss that is reported has no weights."""
  labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2, 2])
  images = np.random.default_rng(0).integers(0, 256, (10, 4, 5, 3), dtype=np.uint8)
  path = write(tmp_path / 'a.npz', x_train=images, y_train=labels)
  options = {'data.name': 'a', 'data.dir': str(path), 'data.validation': '3'}
  options |= {'data.stratified': True, 'batch_size': 7, 'loss.class_weights': ('balanced',)}
  config = changed(tiny_config, **{**tiny.LINEAR, **options})
  recipe = build_trainer(config, data.load_splits(config)).recipe
  # 5, 3 and 2 of 10: shares of 3 are 1.5, 0.9, 0.6; the larger remainders get the rest.
  assert recipe.class_weights == pytest.approx((7 / (3 * 4), 7 / (3 * 2), 7 / (3 * 1)))
  logits, label = np.float32([[1, 2, 3]]), np.int32([2])
  assert recipe.training_loss is not None
  ratio = recipe.training_loss(logits, label) / recipe.loss(logits, label)
  assert float(ratio[0]) == pytest.approx(7 / 3)


@pytest.mark.parametrize(
  'options',
  [{'data.sampling': 'balanced'}, {'loss.class_weights': ('balanced',)}],
  ids=str,
)
def test_seeds_with_other_labels_left_are_no_one_program(tiny_config, tmp_path, options) -> None:
  config = changed(tiny_config, **tiny.LINEAR, **options, devices=1)
  several = [changed(config, seed=seed) for seed in range(2)]
  with pytest.raises(together.NotTogetherError, match='what is balanced follows from the labels'):
    together.train(several, [tmp_path / str(seed) for seed in range(2)], SILENT)
  assert not list(tmp_path.iterdir())
