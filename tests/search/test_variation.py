"""Whatever is drawn, changed or crossed is a network that can be built."""

import collections
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_jax import models, optim
from cifar_jax.analysis import layer_table
from cifar_jax.schema.options import options_of
from cifar_jax.search import draws, variation
from cifar_jax.search.genome import (
  RULES,
  Block,
  Convolution,
  Genome,
  fitted,
  to_config,
)
from cifar_jax.search.size import size_of
from configs import base, cnn_adv
from tests.helpers.genomes import ADV

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]))
SEEDS = st.integers(0, 2**32)


def line_of_descent(seed: int, shape: tuple[int, ...], steps: int) -> list[Genome]:
  """Genomes that come from two random ones by mutation and crossover."""
  random = np.random.default_rng(seed)
  found = [draws.random_genome(random, shape) for _ in range(2)]
  for _ in range(steps):
    child = variation.crossed(random, found[-1], found[-2], shape)
    found.append(variation.mutated(random, child, shape)[0])
  return found


def assert_within_bounds(genome: Genome) -> None:
  assert 1 <= len(genome.blocks) <= draws.MOST_BLOCKS
  assert len(genome.dense) <= draws.MOST_DENSE
  for block in genome.blocks:
    assert 8 <= block.width <= 512
    assert block.width % 8 == 0
    assert 1 <= len(block.convolutions) <= draws.MOST_CONVOLUTIONS
  for layer in (*genome.blocks, *genome.dense):
    assert 0 <= layer.dropout <= draws.MOST_DROPOUT
  ranges = RULES[genome.optimizer.name]
  low, high = ranges.learning_rate
  assert low <= genome.optimizer.learning_rate <= high
  assert ranges.momentum or genome.optimizer.momentum == 0
  assert ranges.weight_decay or genome.optimizer.weight_decay == 0


@given(SEEDS, SHAPES)
@settings(max_examples=40, deadline=None)
def test_all_fit_the_images_and_the_bounds(seed, shape):
  for genome in line_of_descent(seed, shape, 6):
    assert fitted(genome, shape) == genome
    assert_within_bounds(genome)


def assert_size_is_that_of_the_analysis(seed: int, shape: tuple[int, int, int]) -> None:
  genome = line_of_descent(seed, shape, 4)[-1]
  module = models.create(to_config(base.get_config(), genome).model, 7)
  found = layer_table.describe(module, shape)
  assert size_of(genome, shape, 7) == (found.parameters.total, found.macs)


@pytest.mark.parametrize(('seed', 'shape'), [(0, (32, 32, 3)), (1, (9, 14, 1))])
def test_sizes_are_those_of_the_analysis(seed, shape):
  assert_size_is_that_of_the_analysis(seed, shape)


@pytest.mark.thorough
@given(SEEDS, SHAPES)
@settings(max_examples=60, deadline=None)
def test_all_sizes_are_those_of_the_analysis(seed, shape):
  assert_size_is_that_of_the_analysis(seed, shape)


@given(SEEDS, SHAPES)
@settings(max_examples=3, deadline=None)
def test_all_can_be_built_and_trained(seed, shape):
  genome = line_of_descent(seed, shape, 4)[-1]
  config = to_config(base.get_config(), genome)
  optim.validate(config.optimizer)
  module = models.create(config.model, 10)
  images = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
  logits, _ = jax.eval_shape(
    lambda key, images: module.init_with_output(key, images, train=False), jax.random.key(0), images
  )
  assert logits.shape == (2, 10)


@given(SEEDS)
@settings(max_examples=30, deadline=None)
def test_a_mutation_changes_something_and_one_field_alone(seed):
  random = np.random.default_rng(seed)
  parent = draws.random_genome(random, (32, 32, 3))
  child, what = variation.mutated(random, parent, (32, 32, 3))
  different = [
    field.name
    for field in dataclasses.fields(Genome)
    if getattr(child, field.name) != getattr(parent, field.name)
  ]
  assert len(different) == 1
  assert what


def test_every_mutation_happens_and_tells_the_truth():
  random = np.random.default_rng(0)
  for name, mutation in variation.MUTATIONS.items():
    told = [found[1] for _ in range(30) if (found := mutation(random, adv_by_sgd()))]
    assert told, name
  child, what = variation.MUTATIONS['change_learning_rate'](random, ADV)
  assert what == f'learning rate: 0.001 -> {child.optimizer.learning_rate:g}'
  child, what = variation.MUTATIONS['remove_dense'](random, ADV)
  assert (child.dense, what) == ((), 'dense 256 removed')


def adv_by_sgd() -> Genome:
  return dataclasses.replace(ADV, optimizer=draws.random_rule(np.random.default_rng(0), 'sgd'))


def test_learning_rates_move_evenly_in_their_logarithm():
  """The step is normal in log2, with a deviation of 1: half of all are within a factor of 1.6."""
  random = np.random.default_rng(0)
  change = variation.MUTATIONS['change_learning_rate']
  rates = [change(random, ADV)[0].optimizer.learning_rate for _ in range(2000)]
  steps = np.log2(np.array(rates) / ADV.optimizer.learning_rate)
  assert abs(steps.mean()) < 3 / 2000**0.5
  assert (np.abs(steps) < 0.6745).mean() == pytest.approx(0.5, abs=3 * 0.5 / 2000**0.5)


def test_weight_decay_comes_and_goes():
  random = np.random.default_rng(0)
  change = variation.MUTATIONS['change_weight_decay']
  rule = dataclasses.replace(adv_by_sgd().optimizer, weight_decay=5e-4)
  decays = np.array(
    [
      change(random, dataclasses.replace(ADV, optimizer=rule))[0].optimizer.weight_decay
      for _ in range(1000)
    ]
  )
  assert (decays == 0).mean() == pytest.approx(0.2, abs=3 * 0.4 / 1000**0.5)
  none = dataclasses.replace(rule, weight_decay=0.0)
  assert change(random, dataclasses.replace(ADV, optimizer=none))[0].optimizer.weight_decay > 0


def test_crossing_cuts_blocks_at_one_point():
  def marked(width: int, count: int, activation: str) -> Genome:
    blocks = tuple(Block(width + 8 * i, (Convolution(),)) for i in range(count))
    return dataclasses.replace(ADV, blocks=blocks, activation=activation)

  one, other = marked(8, 3, 'relu'), marked(128, 3, 'gelu')
  random = np.random.default_rng(0)
  lengths, activations = collections.Counter(), collections.Counter()
  for _ in range(2000):
    child = variation.crossed(random, one, other, (32, 32, 3))
    widths = [block.width for block in child.blocks]
    from_one = [width for width in widths if width < 128]
    from_other = [width for width in widths if width >= 128]
    assert widths == from_one + from_other
    assert from_one == [8, 16, 24][: len(from_one)]
    assert from_other == [128, 136, 144][3 - len(from_other) :]
    lengths[len(from_one), len(from_other)] += 1
    activations[child.activation] += 1
  # Four places to cut in each, all equally likely; nothing of both is the first one again.
  assert lengths.keys() == {(a, b) for a in range(4) for b in range(4)} - {(0, 0)}
  assert lengths[2, 1] == pytest.approx(2000 / 16, abs=5 * (2000 / 16) ** 0.5)
  assert activations['relu'] == pytest.approx(1000, abs=4 * 500**0.5)


def test_the_same_seed_is_the_same_line_of_descent():
  assert line_of_descent(3, (32, 32, 3), 8) == line_of_descent(3, (32, 32, 3), 8)
  assert line_of_descent(3, (32, 32, 3), 8) != line_of_descent(4, (32, 32, 3), 8)


def test_the_table_of_optimizers_is_true():
  for name, ranges in RULES.items():
    taken = options_of(optim.OPTIMIZERS[name])
    assert ('weight_decay' in taken) == (ranges.weight_decay is not None), name
    assert ('momentum' in taken) == ranges.momentum, name
    low, high = ranges.learning_rate
    assert low <= taken['learning_rate'].default <= high, name


def test_a_config_of_no_blocks_can_get_some():
  genome = dataclasses.replace(ADV, blocks=())
  random = np.random.default_rng(0)
  assert any(variation.mutated(random, genome, (32, 32, 3))[0].blocks for _ in range(60))
  assert to_config(cnn_adv.get_config(), genome).model.widths == ()
