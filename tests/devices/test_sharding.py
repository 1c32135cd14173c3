"""Eight fake devices against one, and against NumPy."""

import functools
import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifar_jax import data
from cifar_jax.devices import sharding
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop
from cifar_jax.trainer.build import Trainer
from cifar_jax.utils.errors import UserError
from tests.helpers import tiny
from tests.helpers.runs import assert_close, changed, state_of, trainer_on


@pytest.fixture
def tiny_config(tiny_config):
  """With a short last batch, and rows that divide by eight devices."""
  return changed(tiny_config, batch_size=32)


def placed(trainer: Trainer, splits: data.Splits) -> tuple[jax.Array, jax.Array]:
  return sharding.replicate((splits.train.images, splits.train.labels), trainer.mesh)


def trained(trainer: Trainer, splits: data.Splits, count: int):
  """The state after `count` single steps, and the last report."""
  images, labels = placed(trainer, splits)
  state = trainer.init()
  for step in range(count):
    epoch, position = divmod(step, trainer.steps_per_epoch)
    order = trainer.epoch_order(trainer.keys, sharding.replicate(epoch, trainer.mesh))
    masked = trainer.recipe.short_last_batch and position == trainer.steps_per_epoch - 1
    arrays = trainer.keys, state, images, labels, order
    state, report = trainer.train_steps(1)(*arrays, masked=masked)
  return state, report


def lowered_step(trainer: Trainer, *arguments):
  return trainer.train_steps(1).lower(trainer.keys, *arguments, masked=False)


@pytest.mark.parametrize('kind', ['jit', pytest.param('pmap', marks=pytest.mark.thorough)])
def test_twenty_steps_on_eight_devices_are_those_of_one(tiny_config, kind) -> None:
  """With augmentation, dropout and BatchNorm, whose statistics are those of the whole batch.

  The short batch of each epoch has 20 rows in 8 parts of 4: three devices get padding only.
  """
  states, reports = [], []
  for devices, way in ((1, 'jit'), (8, kind)):
    trainer, splits = trainer_on(tiny_config, devices, parallel=way, **tiny.ONE_CONVOLUTION)
    assert trainer.mesh.size == devices
    state, report = trained(trainer, splits, 20)
    states.append(state)
    reports.append(report)
  assert int(states[0].step) == 20
  for leaf in jax.tree.leaves(states[1]):
    assert leaf.is_fully_replicated
    assert len(leaf.sharding.device_set) == 8
  assert_close(*states)
  assert float(reports[1].loss) == pytest.approx(float(reports[0].loss), rel=1e-5)


@pytest.mark.parametrize(
  'kind',
  [
    pytest.param('jit', marks=pytest.mark.thorough),
    pytest.param('pmap', marks=pytest.mark.slow),
  ],
)
def test_a_batch_that_does_not_divide_is_filled_if_wanted(tiny_config, kind) -> None:
  """30 rows on 4 devices are 32, of which 30 count, also in BatchNorm; seven steps go into the
  second epoch.
  """
  values = {**tiny.ONE_CONVOLUTION, 'batch_size': 30, 'pad_to_devices': True}
  states = []
  for devices, way in ((1, 'jit'), (4, kind)):
    trainer, splits = trainer_on(tiny_config, devices, parallel=way, **values)
    assert not trainer.recipe.short_last_batch  # so that nothing but the filling masks anything
    states.append(trained(trainer, splits, 7)[0])
  assert_close(*states)


@pytest.mark.parametrize(
  'kind',
  [
    pytest.param('jit', marks=pytest.mark.slow),
    pytest.param('pmap', marks=pytest.mark.thorough),
  ],
)
def test_ghost_batches_are_those_of_one_device(tiny_config, kind) -> None:
  """Statistics over 8 rows each: on 4 devices, those of each device by itself; seven steps include
  a short batch of 20 rows.
  """
  states = []
  for devices, rows, way in ((1, 8, 'jit'), (4, 8, kind), (1, 0, 'jit')):
    values = {**tiny.ONE_CONVOLUTION, 'parallel': way, 'batch_norm.ghost_batch_size': rows}
    trainer, splits = trainer_on(tiny_config, devices, **values)
    states.append(trained(trainer, splits, 7)[0])
  assert_close(states[0], states[1])
  with pytest.raises(AssertionError):
    assert_close(states[0], states[2], 1e-3)


def test_ghost_batches_that_do_not_divide(tiny_config) -> None:
  for kind, devices, rows in (('jit', 1, 5), ('pmap', 8, 8)):
    with pytest.raises(UserError, match=rf'batch_norm\.ghost_batch_size={rows} does not divide'):
      trainer_on(tiny_config, devices, parallel=kind, **{'batch_norm.ghost_batch_size': rows})


@pytest.mark.thorough
def test_jit_and_pmap_restore_each_other(tiny_config, tmp_path) -> None:
  """One epoch on 4 devices, one mapped over 2, one on 1: the state of one device throughout."""
  ways = ((4, 'jit'), (2, 'pmap'), (1, 'jit'))
  for epochs, (devices, kind) in enumerate(ways, start=1):
    config = changed(
      tiny_config, devices=devices, parallel=kind, epochs=epochs, **tiny.ONE_CONVOLUTION
    )
    loop.train(config, tmp_path / 'moving', Progress('silent'))
  config = changed(tiny_config, **tiny.ONE_CONVOLUTION)
  loop.train(config, tmp_path / 'staying', Progress('silent'))
  assert_close(state_of(config, tmp_path / 'staying'), state_of(config, tmp_path / 'moving'))


def test_the_work_is_spread_over_the_devices(tiny_config) -> None:
  """Each device convolves its 4 of 32 rows, and their gradients are summed."""
  trainer, splits = trainer_on(tiny_config, 8, **tiny.ONE_CONVOLUTION)
  images, labels = placed(trainer, splits)
  order = trainer.epoch_order(trainer.keys, sharding.replicate(0, trainer.mesh))
  lowered = lowered_step(trainer, trainer.init(), images, labels, order)
  program = lowered.compile().as_text()
  assert 'all-reduce' in program
  assert (
    'f32[4,8,8,4]' in program
  )  # activations of the first convolution: 4 rows of 8x8, 4 channels
  assert 'f32[32,8,8,4]' not in program


def moved_by_collectives(program: str) -> list[int]:
  """Bytes of the result of every all-reduce of a compiled program; nothing else may move data."""
  others = 'all-gather|all-to-all|collective-permute|reduce-scatter|collective-broadcast'
  assert not re.search(rf' ({others})(-start)?\(', program)
  moved = []
  for results in re.findall(r'= (.*?) all-reduce(?:-start)?\(', program):
    for kind, sizes in re.findall(r'\b([a-z]+\d+|pred)\[([\d,]*)\]', results):
      width = 1 if kind == 'pred' else int(re.sub(r'\D', '', kind)) // 8
      moved.append(width * math.prod(int(size) for size in sizes.split(',') if size))
  return moved


@pytest.mark.parametrize('batch_norm', [False, True])
def test_a_step_moves_the_gradients_once(tiny_config, batch_norm) -> None:
  """All-reduces of a step on 8 devices: as many bytes as the parameters have, a few numbers for the
  metrics, and with BatchNorm the two sums over the batch that are not gradients: those of the
  statistics. (The two sums of its backward pass are the gradients of its bias and scale.)
  """
  block = ('conv3 same', 'max_pool', 'batch_norm', 'dropout 0.25')
  values = {**tiny.ONE_CONVOLUTION, 'model.block': block if batch_norm else block[:2]}
  trainer, splits = trainer_on(tiny_config, 8, **values)
  images, labels = placed(trainer, splits)
  order = trainer.epoch_order(trainer.keys, sharding.replicate(0, trainer.mesh))
  state = trainer.init()
  parameters = sum(leaf.nbytes for leaf in jax.tree.leaves(state.params))
  statistics = sum(leaf.nbytes for leaf in jax.tree.leaves(state.batch_stats))
  lowered = lowered_step(trainer, state, images, labels, order)
  moved = moved_by_collectives(lowered.compile().as_text())
  metrics = sum(moved) - parameters - statistics
  assert 0 < metrics <= 16


def test_programs_serve_every_seed(tiny_config) -> None:
  """The seed was inside, so that a run with another one compiled everything anew."""
  programs = []
  for seed in (0, 2**32 - 1):
    trainer, splits = trainer_on(
      tiny_config, 1, seed=seed, **{**tiny.ONE_CONVOLUTION, 'augment.flip': 'alternating'}
    )
    images, labels = placed(trainer, splits)
    order = trainer.epoch_order(trainer.keys, sharding.replicate(0, trainer.mesh))
    programs.append(
      [
        lowered_step(trainer, trainer.init(), images, labels, order).as_text(),
        trainer.epoch_order.lower(trainer.keys, 0).as_text(),
      ]
    )
  assert programs[0] == programs[1]


def test_batches_are_the_same_on_any_number_of_devices(tiny_config) -> None:
  orders = []
  for devices in (1, 4):
    trainer, _ = trainer_on(tiny_config, devices)
    orders.append([np.asarray(trainer.epoch_order(trainer.keys, epoch)) for epoch in range(3)])
  np.testing.assert_array_equal(*orders)


def test_evaluation_is_exact_where_the_count_does_not_divide(tiny_config, monkeypatch) -> None:
  """Batches of 18 on three devices, of 16 on eight, over 90, 13 and 2 examples, against NumPy."""
  monkeypatch.setattr('cifar_jax.trainer.evaluator.EVALUATION_BATCH', 16)
  truth = None
  for devices in (3, 8):
    trainer, splits = trainer_on(tiny_config, devices, batch_size=24, **tiny.ONE_CONVOLUTION)
    state = trainer.init()
    if truth is None:
      variables = {'params': state.params, 'batch_stats': state.batch_stats}
      pixels = jnp.asarray(splits.test.images / 255, jnp.float32)
      apply = jax.jit(functools.partial(trainer.recipe.module.apply, train=False))
      logits = np.asarray(apply(variables, pixels), np.float64)
      shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
      losses = -np.log(shares[np.arange(90), splits.test.labels])
      truth = losses, logits.argmax(1) == splits.test.labels
    for count in (90, 13, 2):
      split = data.Split(splits.test.images[:count], splits.test.labels[:count])
      found = trainer.evaluate(state, trainer.evaluate.place(split))
      assert found['loss'] == pytest.approx(truth[0][:count].mean(), rel=1e-6)
      assert found['accuracy'] == pytest.approx(truth[1][:count].mean(), rel=1e-7)


@pytest.mark.parametrize(('devices', 'size'), [(0, 8), (1, 1), (3, 3), (8, 8)])
def test_mesh(devices, size) -> None:
  mesh = sharding.make_mesh(devices)
  assert (mesh.size, mesh.axis_names) == (size, ('data',))
  assert list(mesh.devices.flat) == jax.devices()[:size]


def test_more_devices_than_there_are() -> None:
  with pytest.raises(
    UserError, match=r'--config\.devices=9, but JAX sees 8 cpu device\(s\); use 0'
  ):
    sharding.make_mesh(9)


@pytest.mark.parametrize(
  ('batch_size', 'devices', 'advice'),
  [(30, 8, 32), (3, 8, 8), (35, 8, 32), (1, 2, 2), (100, 3, 99)],
)
def test_batch_size_that_does_not_divide(tiny_config, batch_size, devices, advice) -> None:
  mesh = sharding.make_mesh(devices)
  config = changed(tiny_config, batch_size=batch_size)
  with pytest.raises(
    UserError, match=rf'batch_size={batch_size} does not divide by {devices} devices; use {advice},'
  ):
    sharding.batch_multiple(config, mesh)
  assert sharding.batch_multiple(changed(config, batch_size=advice), mesh) == devices


def test_description() -> None:
  assert sharding.describe(sharding.make_mesh(1)) == '1 cpu device (cpu)'
  assert sharding.describe(sharding.make_mesh(2)) == '2 cpu devices (cpu)'
