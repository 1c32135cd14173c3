"""A run that cannot fit is refused in one sentence, before anything of it is made; one that can
does not take ever more.
"""

import json
import os
import subprocess
import sys

import flax.linen as nn
import pytest
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax import data
from cifar_jax.data import preprocessing
from cifar_jax.devices import sharding
from cifar_jax.run_dir.progress import Progress
from cifar_jax.startup import host_memory
from cifar_jax.trainer import loop, step_memory
from cifar_jax.trainer.build import build_trainer
from cifar_jax.trainer.reuse import SameButSeed
from cifar_jax.utils.errors import UserError
from tests.helpers import REPOSITORY
from tests.helpers.runs import changed

LINEAR = {'model.widths': (), 'model.block': (), 'model.head': ('flatten',)}


@pytest.fixture
def tiny_config(tiny_config):
  """With rows that divide by four devices."""
  return changed(tiny_config, batch_size=32)


def parts_of(config) -> dict[str, int]:
  splits = data.split(data.load(config.data), config.data.validation, 'random', config.seed)
  found = step_memory.prepare(build_trainer(config, splits), splits)
  return {part.what.split(' of ')[0]: part.size for part in found}


def test_the_parts_of_a_linear_network(tiny_config) -> None:
  """By hand: 8x8x3 images, 4 classes, batches of 32; Adam keeps two moments and a count."""
  options = {**LINEAR, 'optimizer.name': 'adam', 'augment.crop_padding': 5}
  config = changed(tiny_config, **options)
  splits = data.split(data.load(config.data), config.data.validation, 'random', config.seed)
  sizes = [part.size for part in step_memory.prepare(build_trainer(config, splits), splits)]
  parameters = 4 * (192 * 4 + 4)
  scalars = 4 * (
    1 + 1 + 5
  )  # the step, bad_step; sums and counts of the epoch, and how often merged
  counts = 4 * 2  # of Adam and of the schedule
  assert sizes[0] == 4 * parameters + scalars + counts
  assert sizes[1] == 4 * 32 * 8 * 8 * 3
  assert sizes[2] == 4 * 32 * 8 * 8 * 3  # flattened images are the largest output
  assert sizes[3] == 4 * 32 * 18 * 18 * 3
  assert sizes[4] == (180 + 20 + 90) * 8 * 8 * 3


def test_what_large_steps_free_is_not_kept(tiny_config, monkeypatch) -> None:
  """By hand: the flattened pixels of 32 images, and the logits, by a layer and what holds it."""
  asked: list[bool] = []
  monkeypatch.setattr(host_memory, 'keep_large_blocks', asked.append)
  monkeypatch.setattr(step_memory, '_MOST_KEPT', 2 * 32 * (2 * 192 + 2 * 4) * 4)
  config = changed(tiny_config, **LINEAR)
  splits = data.split(data.load(config.data), config.data.validation, 'random', config.seed)
  for runs in (1, 2, 3):
    step_memory.prepare(build_trainer(config, splits), splits, runs)
  more = changed(config, batch_size=96)
  step_memory.prepare(build_trainer(more, splits), splits)
  step_memory.prepare(build_trainer(changed(more, grad_accum_steps=3), splits), splits)
  step_memory.prepare(build_trainer(changed(more, devices=4), splits), splits)
  assert asked == [True, True, False, False, True, False]


def test_a_step_is_as_large_for_the_next_seed(tiny_config, monkeypatch) -> None:
  """Its trainer shares the trace of the one before, from which nothing is recorded again."""
  asked: list[bool] = []
  monkeypatch.setattr(host_memory, 'keep_large_blocks', asked.append)
  monkeypatch.setattr(step_memory, '_MOST_KEPT', 2 * 32 * (2 * 192 + 2 * 4) * 4 - 1)
  build = SameButSeed()
  needed = []
  for seed in (0, 1):
    config = changed(tiny_config, **LINEAR, seed=seed)
    splits = data.split(data.load(config.data), config.data.validation, 'random', 0)
    trainer = build(config, splits)
    needed += [step_memory.prepare(trainer, splits, runs=2) for _ in range(2)]
  assert asked == [False] * 4
  assert needed == needed[:1] * 4


@pytest.mark.thorough
def test_large_steps_do_not_fill_the_memory(tmp_path) -> None:
  """It was 4 GB after these twelve, and more with each."""
  options = (
    *('batch_size=1024', 'epochs=10', 'max_steps=12', 'tensorboard=False', 'evaluate.test=False'),
    *(f'model.widths={(16,) * 12}', "model.block=('conv1',)"),
    "model.head=('global_average_pool',)",
  )
  # The suite compiles fast, and not what users run.
  off = ('XLA_FLAGS', 'JAX_DISABLE_MOST_OPTIMIZATIONS', 'CIFAR_JAX_ONEDNN')
  environment = {name: value for name, value in os.environ.items() if name not in off}
  line = (sys.executable, 'launch.py', '--config=configs/quickstart.py', f'--workdir={tmp_path}')
  subprocess.run(
    [*line, *(f'--config.{option}' for option in options)],
    cwd=REPOSITORY,
    env={**environment, 'JAX_PLATFORMS': 'cpu'},
    check=True,
    capture_output=True,
  )
  summary = json.loads((tmp_path / 'summary.json').read_text())
  assert summary['steps'] == 12
  assert summary['peak_memory_mb'] < 2500


def test_more_devices_share_a_batch_and_more_parts_of_it_take_less(tiny_config) -> None:
  one = parts_of(changed(tiny_config, **LINEAR))
  four = parts_of(changed(tiny_config, **LINEAR, devices=4))
  assert four['a batch'] * 4 == one['a batch']
  parts = parts_of(changed(tiny_config, **LINEAR, grad_accum_steps=4))
  assert parts['what one layer makes'] * 4 == one['what one layer makes']
  assert parts['a batch'] == one['a batch']


@pytest.mark.parametrize(
  ('options', 'flag'),
  [
    ({'augment.crop_padding': 100_000}, 'use a smaller --config.augment.crop_padding'),
    ({'model.widths': (10**9, 10**9)}, '--config.model'),
    ({'model.head': ('flatten', 'dense 999999999')}, '--config.model'),
    ({'batch_size': 2**31 - 1}, 'use a smaller --config.batch_size'),
    ({'weight_averaging.name': 'ema', 'model.widths': (10**9,)}, '--config.model'),
  ],
)
def test_what_no_machine_can_hold(tiny_config, tmp_path, options, flag) -> None:
  config = changed(tiny_config, **options)
  with pytest.raises(UserError, match=r'^training needs at least [\d,.]+ GiB') as error:
    loop.train(config, tmp_path / 'run', Progress('silent'))
  assert flag in str(error.value)
  assert '\n' not in str(error.value)
  assert not (tmp_path / 'run').exists()


def test_what_fits_to_the_byte_is_taken(tiny_config, monkeypatch) -> None:
  config = changed(tiny_config, **LINEAR)
  splits = data.split(data.load(config.data), config.data.validation, 'random', config.seed)
  needed = sum(part.size for part in step_memory.prepare(build_trainer(config, splits), splits))
  monkeypatch.setattr(sharding, 'bytes_of_a_device', lambda mesh: needed)
  step_memory.prepare(build_trainer(config, splits), splits)
  monkeypatch.setattr(sharding, 'bytes_of_a_device', lambda mesh: needed - 1)
  trainer = build_trainer(changed(config, **{'data.placement': 'host'}), splits)
  step_memory.prepare(trainer, splits)  # without the images
  trainer = build_trainer(changed(config, **{'data.placement': 'host'}), splits)
  monkeypatch.setattr(sharding, 'bytes_of_a_device', lambda mesh: needed - 290 * 192 - 1)
  with pytest.raises(UserError, match='training needs at least'):
    step_memory.prepare(trainer, splits)
  monkeypatch.setattr(sharding, 'bytes_of_a_device', lambda mesh: None)  # nobody says
  step_memory.prepare(trainer, splits)


def test_more_updates_than_are_counted(tiny_config) -> None:
  """Six updates an epoch; the last epoch that is counted is taken, unless the run ends before."""
  splits = data.split(data.load(tiny_config.data), '20', 'random', 0)
  most = (2**31 - 1) // 6
  build_trainer(changed(tiny_config, epochs=most), splits)
  with pytest.raises(UserError, match=rf'^--config\.epochs={most + 1} are {6 * most + 6} updates'):
    build_trainer(changed(tiny_config, epochs=most + 1), splits)
  build_trainer(changed(tiny_config, epochs=most + 1, max_steps=5), splits)


def test_a_border_larger_than_memory(tiny_config, monkeypatch) -> None:
  """290 images in all, of which the 200 for training come first: 200 x 100 x 100 x 3 bytes."""
  config = changed(tiny_config, **{'data.pad_to': 100})
  monkeypatch.setattr(host_memory, 'available', lambda: 200 * 100 * 100 * 3)
  assert data.load(config.data).train.images.shape == (200, 100, 100, 3)
  monkeypatch.setattr(host_memory, 'available', lambda: 200 * 100 * 100 * 3 - 1)
  with pytest.raises(UserError, match=r'^--config\.data\.pad_to=100 makes 0\.01 GiB of 200 images'):
    preprocessing.pad(data.load(tiny_config.data).train.images, 100)


def test_the_memory_of_a_container(tmp_path) -> None:
  """Its bound less what is in use, files in memory apart."""
  everything = host_memory.available(tmp_path)
  assert everything is None or everything > 2**20
  (tmp_path / 'memory.max').write_text('max\n')
  assert host_memory.available(tmp_path) is None or host_memory.available(tmp_path) > 2**20
  (tmp_path / 'memory.max').write_text('1000000\n')
  (tmp_path / 'memory.current').write_text('700000\n')
  (tmp_path / 'memory.stat').write_text('anon 500000\nfile 200000\n')
  assert host_memory.available(tmp_path) == 500_000


class OfFive(nn.Module):
  """A network that has not been told of the number of classes."""

  @nn.compact
  def __call__(self, images, train):
    return nn.Dense(5)(images.reshape(len(images), -1))


def test_logits_of_another_shape_than_the_classes(tiny_config, tmp_path) -> None:
  config = configs.get_config()
  config.update(tiny_config)
  config.model = ConfigDict({'name': f'{__name__}:OfFive'})
  with pytest.raises(UserError, match=r'OfFive makes \(1, 5\) of .* \(1, 4\) are needed'):
    loop.train(config, tmp_path / 'run', Progress('silent'))
  assert not (tmp_path / 'run').exists()
