"""Programs of one seed serve another, and those of another config do not."""

import jax
import numpy as np
import pytest

from cifar_jax import data
from cifar_jax.trainer.reuse import SameButSeed
from tests.helpers.runs import assert_identical, changed
from tests.helpers.tiny import LINEAR

OF_LABELS = {'data.normalize', 'data.sampling', 'loss.class_weights'}


@pytest.fixture
def build(tiny_config):
  """Options -> the trainer that follows the ones before."""
  reuse = SameButSeed()

  def build(**options):
    config = changed(tiny_config, **LINEAR, **options)
    return reuse(config, data.load_splits(config))

  return build


def test_a_seed_has_its_own_keys_and_the_programs_of_the_one_before(build) -> None:
  first = build(seed=0)
  programs = first.train_steps, first.evaluate, first.epoch_order, first.train_steps(1)
  state = first.init()
  second = build(seed=1)
  assert (second.train_steps, second.evaluate, second.epoch_order) == programs[:3]
  assert second.train_steps(1) is programs[3]
  assert second.config.seed == 1
  assert not np.array_equal(
    *(jax.random.key_data(jax.tree.leaves(t.keys)[0]) for t in (first, second))
  )
  other = second.init()
  assert any(
    not np.array_equal(a, b)
    for a, b in zip(jax.tree.leaves(state.params), jax.tree.leaves(other.params), strict=True)
  )
  assert_identical(build(seed=0).init().params, state.params)


@pytest.mark.parametrize(
  'options',
  [
    {'optimizer.learning_rate': 0.5},
    {'batch_size': 20},
    {'data.validation': '30'},
    {'data.normalize': 'channel'},  # by the images that the seed leaves for training
    {'epochs': 4},
    {'data.sampling': 'balanced'},  # by the labels that it leaves
    {'loss.class_weights': ('balanced',)},
  ],
  ids=str,
)
def test_what_has_programs_of_its_own(build, options) -> None:
  first = build(seed=0, **options) if options.keys() & OF_LABELS else build(seed=0)
  programs = first.train_steps
  assert build(seed=1, **options).train_steps is not programs
