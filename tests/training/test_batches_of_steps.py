"""Which examples a step sees, with which key, whatever the dispatch."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_jax import layers
from cifar_jax.augment.normalize import scale
from cifar_jax.training import steps
from cifar_jax.training.recipe import steps_per_epoch
from tests.helpers.pure_steps import (
  CLASSES,
  EXAMPLES,
  Linear,
  Recorder,
  Trainer,
  epoch_order,
  recipe_of,
)


@pytest.mark.parametrize(
  ('examples', 'batch_size', 'keep', 'drop'),
  [(10, 4, 3, 2), (8, 4, 2, 2), (3, 4, 1, 0), (1, 1, 1, 1), (50000, 128, 391, 390)],
)
def test_steps_per_epoch(examples, batch_size, keep, drop) -> None:
  assert steps_per_epoch(examples, batch_size, False) == keep
  assert steps_per_epoch(examples, batch_size, True) == drop


@settings(max_examples=12, deadline=None)
@given(
  seed=st.integers(0, 2**32 - 1),
  examples=st.integers(1, 40),
  batch_size=st.integers(1, 60),
  epoch=st.integers(0, 10**6),
)
def test_order_is_a_permutation_filled_from_its_own_beginning(
  seed, examples, batch_size, epoch
) -> None:
  order = np.asarray(epoch_order(seed, examples, batch_size, False)(epoch))
  assert order.dtype == np.int32
  assert len(order) == -(-examples // batch_size) * batch_size
  assert sorted(order[:examples]) == list(range(examples))
  np.testing.assert_array_equal(order, np.resize(order[:examples], len(order)))


@settings(max_examples=8, deadline=None)
@given(examples=st.integers(1, 40), batch_size=st.integers(1, 40), epoch=st.integers(0, 1000))
def test_dropped_last_batch_cuts_the_same_permutation(examples, batch_size, epoch) -> None:
  whole = np.asarray(epoch_order(3, examples, 1, False)(epoch))
  order = np.asarray(epoch_order(3, examples, batch_size, True)(epoch))
  np.testing.assert_array_equal(order, whole[: examples // batch_size * batch_size])


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_seed_means_the_same_inside_and_outside_a_program(seed) -> None:
  inside, outside = jax.jit(steps.random_keys)(np.uint32(seed)), steps.random_keys(seed)
  assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), inside, outside))


@pytest.mark.parametrize(
  ('multiple', 'start', 'masked', 'mask'),
  [
    (1, 4, False, None),
    (1, 8, True, [1, 1, 0, 0]),
    (3, 4, False, [1, 1, 1, 1, 0, 0]),
    (3, 8, True, [1, 1, 0, 0, 0, 0]),
  ],
)
def test_a_batch_is_filled_alike_on_the_host_and_on_a_device(multiple, start, masked, mask) -> None:
  """Batches of 4 of 10 examples, filled to 6 where three devices share them."""
  recipe = recipe_of(Linear(), batch_multiple=multiple)
  for indices in (np.array([7, 3, 5, 1], np.int32), jnp.array([7, 3, 5, 1], jnp.int32)):
    rows, counted = steps.fill_batch(recipe, indices, start, masked)
    assert isinstance(rows, type(indices))
    assert rows.dtype == np.int32
    assert rows.tolist() == [7, 3, 5, 1, 0, 0][: recipe.padded_batch_size]
    assert (None if counted is None else counted.astype(int).tolist()) == mask


def test_order_is_another_one_each_epoch_and_each_seed() -> None:
  orders = [
    tuple(np.asarray(epoch_order(seed, 30, 4, False)(epoch))[:30].tolist())
    for seed in range(4)
    for epoch in range(6)
  ]
  assert len(set(orders)) == 24
  # Each example must be able to come first: 30 of 30 in 400 epochs is missed once in 10**4 seeds.
  order = jax.jit(epoch_order(0, 30, 4, False))
  assert {int(order(epoch)[0]) for epoch in range(400)} == set(range(30))


def test_order_is_a_function_of_seed_and_epoch_alone() -> None:
  first = epoch_order(7, 20, 6, False)
  backwards = [np.asarray(first(epoch)) for epoch in (3, 2, 1)]
  again = epoch_order(7, 20, 6, False)
  forwards = [np.asarray(jax.jit(again)(jnp.int32(epoch))) for epoch in (1, 2, 3)]
  np.testing.assert_array_equal(backwards[::-1], forwards)
  other_batches = np.asarray(epoch_order(7, 20, 5, False)(2))
  np.testing.assert_array_equal(other_batches, forwards[1][:20])


def recording(history: int, **options: Any) -> Trainer:
  images = np.zeros((EXAMPLES, 2, 2, 1), np.uint8)
  images[:, 0, 0, 0] = np.arange(EXAMPLES)
  return Trainer(Recorder(4, history), images=images, optimizer=optax.sgd(0.0), **options)


def test_any_number_of_steps_a_dispatch_sees_the_same_batches() -> None:
  """12 steps one by one, and in dispatches of 2, 1, 2, 1, ...; against the epoch orders."""
  trainer = recording(12)
  expected = np.concatenate([np.asarray(trainer.order(epoch)) for epoch in range(4)])
  recorded = []
  for counts in ([1] * 12, [2, 1] * 4):
    state = trainer.start
    for count in counts:
      state, report = trainer.dispatch(state, count)
    assert state.step == 12
    seen = np.asarray(state.batch_stats['seen']) * 255
    np.testing.assert_array_equal(np.rint(seen).ravel(), expected)
    recorded.append((state.batch_stats, state.metrics, report))
  jax.tree.map(np.testing.assert_array_equal, *recorded)


def noise(key, example_key, images, indices, epoch) -> jax.Array:
  del example_key, indices, epoch
  return scale(images) + jax.random.uniform(key, images.shape)


def test_every_step_has_a_key_of_its_own_that_repeats() -> None:
  trainer = recording(6, batch_size=4, drop_remainder=True, augment=noise)
  state = trainer.start
  for _ in range(6):
    state, _ = trainer.dispatch(state)
  stats = jax.device_get(state.batch_stats)
  rows = np.concatenate([np.asarray(trainer.order(epoch)) for epoch in range(3)]).reshape(6, 4)
  noises = stats['seen'] - rows / 255
  assert len(np.unique(np.round(noises, 6))) == 24  # per step and per image
  assert len({tuple(row) for row in stats['dropped']}) > 1

  # A state that was put together at step 4, as from a checkpoint, goes on with the same numbers.
  jumped = trainer.start.replace(step=jnp.int32(4))
  for _ in range(2):
    jumped, _ = trainer.dispatch(jumped)
  np.testing.assert_array_equal(jumped.batch_stats['seen'][:2], stats['seen'][4:])
  np.testing.assert_array_equal(jumped.batch_stats['dropped'][:2], stats['dropped'][4:])

  other, _ = recording(6, drop_remainder=True, augment=noise, seed=6).dispatch(trainer.start)
  assert not np.array_equal(other.batch_stats['seen'][0], stats['seen'][0])


def test_augmentation_and_dropout_do_not_share_a_key() -> None:
  """With one key for both, what is dropped would depend on what was augmented."""
  keys: list[tuple[int, ...]] = []

  def remember(key: jax.Array) -> None:
    jax.debug.callback(lambda data: keys.append(tuple(data.tolist())), jax.random.key_data(key))

  def augment(key, example_key, images, indices, epoch) -> jax.Array:
    del example_key, indices, epoch
    remember(key)
    return scale(images)

  class KeyReader(nn.Module):
    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
      if train:
        remember(self.make_rng('dropout'))
      return layers.Dense(CLASSES)(images.reshape(len(images), -1))

  trainer = Trainer(KeyReader(), augment=augment)
  jax.block_until_ready(trainer.dispatch(trainer.start))
  jax.effects_barrier()
  roots = jax.tree.leaves(steps.random_keys(5))
  assert len(keys) == 2
  # Flax derives the key of a module from that of the stream: what if the stream had the first key?
  variables = {'params': trainer.start.params}
  for key in list(keys):
    shared = jax.random.wrap_key_data(jnp.array(key, jnp.uint32))
    KeyReader().apply(variables, jnp.zeros((1, 2, 3, 2)), train=True, rngs={'dropout': shared})
  jax.effects_barrier()
  assert len({*keys, *(tuple(jax.random.key_data(key).tolist()) for key in roots)}) == 8


def test_augmentation_learns_which_examples_it_sees_and_in_which_epoch() -> None:
  """The images are replaced by the examples' indices and the epoch, which the network records."""

  def augment(key, example_key, images, indices, epoch) -> jax.Array:
    del key, example_key
    numbers = (indices + 100 * epoch).astype(jnp.float32)
    return jnp.broadcast_to(numbers[:, None, None, None], images.shape)

  trainer = recording(6, drop_remainder=True, augment=augment)
  state = trainer.start
  for _ in range(6):
    state, _ = trainer.dispatch(state)
  orders = [np.asarray(trainer.order(epoch)) + 100 * epoch for epoch in range(3)]
  np.testing.assert_array_equal(np.ravel(state.batch_stats['seen']), np.concatenate(orders))


def test_images_kept_as_rows_of_pixels_are_the_same_images() -> None:
  """TPUs keep a data set [N, H W C]: the same batches, and the same state to the bit."""
  trainer = recording(12)
  state, _ = trainer.dispatch(trainer.start, 2)
  rows = trainer.images.reshape(EXAMPLES, -1)
  flat, _ = trainer.dispatch(trainer.start, 2, images=rows)
  assert np.asarray(state.batch_stats['seen']).any()
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(flat), jax.device_get(state))


@pytest.mark.thorough
def test_steps_by_the_generator_of_the_hardware_do_not_depend_on_how_they_are_dispatched() -> None:
  """So a run goes on after any step with the numbers that it would have drawn."""
  trainers = [recording(12), recording(12)]
  states = []
  for trainer, counts in zip(trainers, ((1, 1, 1), (2, 1)), strict=True):
    trainer.keys = steps.random_keys(5, 'rbg')
    state = trainer.start
    for count in counts:
      state, _ = trainer.dispatch(state, count)
    states.append(jax.device_get(state.batch_stats))
  jax.tree.map(np.testing.assert_array_equal, *states)
  dropped = states[0]['dropped'][:3]
  assert len(np.unique(dropped, axis=0)) == 3
