"""The generator of the hardware, 'rbg', on one device and on eight; CPU devices stand for TPUs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from cifar_jax.augment import make_augment, make_mix
from cifar_jax.augment.normalize import scale
from cifar_jax.devices import pmap, sharding
from cifar_jax.layers import Dropout
from cifar_jax.layers.batch_axis import batch_axis_context
from cifar_jax.layers.dropout import DropPath
from cifar_jax.ops.dispatch import for_platform
from cifar_jax.training import steps
from configs import base
from tests.helpers.runs import changed, trainer_on

ROWS = 16


def augmented(key: jax.Array, images: jax.Array) -> tuple[jax.Array, ...]:
  """All that augmentation draws."""
  config = base.get_config().augment
  config.flip, config.vertical_flip, config.crop_padding, config.cutout = 'random', True, 2, 4
  config.rotation, config.zoom, config.brightness, config.erasing = 15.0, 0.2, 0.3, 0.5
  config.policy, config.mixup, config.cutmix = 'randaugment', 0.4, 1.0
  images = make_augment(config, scale)(key, key, images, jnp.arange(ROWS), jnp.int32(0))
  mixed = make_mix(config)(key, images, None)
  return mixed.images, mixed.partners, mixed.weight


def dropped(key: jax.Array) -> tuple[jax.Array, ...]:
  """Which elements of maps and of vectors, and which branches, are kept."""
  rngs = {'dropout': key}
  maps, vectors = jnp.ones((ROWS, 4, 4, 8)), jnp.ones((ROWS, 10))
  return (
    Dropout(0.25).apply({}, maps, deterministic=False, rngs=rngs),
    Dropout(0.1).apply({}, vectors, deterministic=False, rngs=rngs),
    DropPath(0.5).apply({}, vectors, deterministic=False, rngs=rngs),
  )


def of_one_and_of_eight(function, *arguments):
  """The results of a function on one device, and with rows over eight, as arrays."""
  mesh = sharding.mesh_over(jax.devices())
  rows = NamedSharding(mesh, PartitionSpec(sharding.AXIS))
  divided = [
    jax.device_put(array, rows if array.shape[:1] == (ROWS,) else sharding.replicated(mesh))
    for array in arguments
  ]
  one = jax.jit(function)(*arguments)
  return one, jax.jit(function, out_shardings=rows)(*divided)


@pytest.mark.parametrize('platform', ['cpu', 'tpu'])
def test_dropout_drops_the_same_on_eight_devices(platform) -> None:
  key = steps.random_keys(3, 'rbg').step
  one, eight = of_one_and_of_eight(for_platform(dropped, platform), key)
  for expected, found in zip(one, eight, strict=True):
    assert len(found.sharding.device_set) == 8
    assert 0 < np.mean(np.asarray(expected) == 0) < 1
    np.testing.assert_array_equal(found, expected)


@pytest.mark.thorough
def test_augmentation_draws_the_same_on_eight_devices() -> None:
  images = np.random.default_rng(0).integers(0, 256, (ROWS, 8, 8, 3), np.uint8)
  key = steps.random_keys(3, 'rbg').step
  one, eight = of_one_and_of_eight(augmented, key, images)
  for expected, found in zip(one, eight, strict=True):
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_mapped_devices_take_their_rows_of_the_mask_of_one() -> None:
  key, inputs = steps.random_keys(3, 'rbg').step, jnp.ones((ROWS, 4, 4, 8))

  def drop(key: jax.Array, inputs: jax.Array) -> jax.Array:
    return Dropout(0.25).apply({}, inputs, deterministic=False, rngs={'dropout': key})

  mapping = pmap.data_parallel(sharding.mesh_over(jax.devices()))

  @functools.partial(jax.pmap, axis_name=sharding.AXIS, in_axes=(None, 0))
  def mapped(key: jax.Array, inputs: jax.Array) -> jax.Array:
    with batch_axis_context(mapping.batch_axis(0)):
      return drop(key, inputs)

  found = mapped(key, inputs.reshape(8, 2, 4, 4, 8)).reshape(inputs.shape)
  np.testing.assert_array_equal(found, jax.jit(drop)(key, inputs))


def test_only_what_a_step_draws_comes_from_another_generator() -> None:
  threefry, rbg = steps.random_keys(7), steps.random_keys(7, 'rbg')
  for name in ('init', 'order', 'example'):
    assert getattr(rbg, name) == getattr(threefry, name), name
  assert str(jax.random.key_impl(threefry.step)) == 'threefry2x32'
  assert str(jax.random.key_impl(rbg.step)) == 'rbg'
  other = steps.random_keys(8, 'rbg').step
  assert (jax.random.key_data(rbg.step) != jax.random.key_data(other)).all()


def test_steps_of_rbg_have_keys_of_their_own_that_repeat() -> None:
  key = steps.random_keys(7, 'rbg').step
  masks = [np.asarray(dropped(jax.random.fold_in(key, step))[0]) for step in (0, 1, 0)]
  assert (masks[0] != masks[1]).mean() > 0.2
  np.testing.assert_array_equal(masks[2], masks[0])


def test_the_option_chooses_the_generator(tiny_config) -> None:
  """'auto' is threefry here, as on GPU; TPUs are in tests/benchmarks/test_tpu.py."""
  for chosen, expected in (('auto', 'threefry'), ('threefry', 'threefry'), ('rbg', 'rbg')):
    trainer, _ = trainer_on(changed(tiny_config, rng=chosen), 1)
    assert trainer.generator == expected
    assert str(jax.random.key_impl(trainer.keys.step)) == (
      'rbg' if expected == 'rbg' else 'threefry2x32'
    )
