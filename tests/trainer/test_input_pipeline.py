"""Examples that stay with the host against examples on the devices."""

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from types import SimpleNamespace
from typing import ClassVar

import jax
import numpy as np
import pytest
from flax import linen as nn
from ml_collections import ConfigDict

from cifar_jax import data
from cifar_jax.devices import sharding
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop
from cifar_jax.trainer.host_batches import train_batches
from cifar_jax.trainer.input_pipeline import HostPrefetcher
from cifar_jax.utils.errors import UserError
from tests.helpers import tiny
from tests.helpers.runs import assert_close, changed, rows_of, state_of, trainer_on

SILENT = Progress('silent')


@pytest.fixture
def tiny_config(tiny_config):
  """With a short last batch: 180 examples in six steps."""
  return changed(tiny_config, batch_size=32)


def test_the_host_sends_the_batches_that_the_devices_would_pick(tiny_config) -> None:
  """On three devices, where 32 rows are filled to 33; from step 4 on into the second epoch."""
  values = {'pad_to_devices': True, 'data.placement': 'host'}
  trainer, splits = trainer_on(tiny_config, 3, **values, **tiny.ONE_CONVOLUTION)
  batches = list(train_batches(trainer.recipe, 0, splits.train, trainer.mesh, 4, 8))
  for step, batch in zip(range(4, 8), batches, strict=True):
    epoch, position = divmod(step, 6)
    order = np.asarray(trainer.epoch_order(trainer.keys, sharding.replicate(epoch, trainer.mesh)))
    rows = order[32 * position : 32 * position + 32]
    counted = 20 if position == 5 else 32  # 180 examples
    np.testing.assert_array_equal(batch.indices[:32], rows)
    np.testing.assert_array_equal(batch.mask, np.arange(33) < counted)
    np.testing.assert_array_equal(batch.images[:32], splits.train.images[rows])
    np.testing.assert_array_equal(batch.labels[:32], splits.train.labels[rows])
    assert len(batch.images.sharding.device_set) == 3


@pytest.mark.thorough
def test_a_run_from_the_host_is_that_on_the_devices(tiny_config, tmp_path) -> None:
  """Also stopped in mid-epoch and continued from the other place."""
  config = changed(tiny_config, devices=2, epochs=2, **tiny.ONE_CONVOLUTION)
  host = changed(config, **{'data.placement': 'host'})
  loop.train(config, tmp_path / 'device', SILENT)
  loop.train(changed(host, max_steps=4), tmp_path / 'host', SILENT)
  loop.train(host, tmp_path / 'host', SILENT)
  assert_close(state_of(config, tmp_path / 'device'), state_of(config, tmp_path / 'host'))
  last = [rows_of(tmp_path / name)[-1] for name in ('device', 'host')]
  assert last[0]['val_accuracy'] == last[1]['val_accuracy']
  assert float(last[1]['val_loss']) == pytest.approx(float(last[0]['val_loss']), rel=1e-5)


class Watching(nn.Module):
  """Notes, while its programs are made, what is said of transfers from the devices."""

  num_classes: int

  said: ClassVar[list[str | None]] = []

  @nn.compact
  def __call__(self, images, train):
    self.said.append(jax.config.jax_transfer_guard_device_to_host)
    return nn.Dense(self.num_classes)(images.reshape(len(images), -1))


@pytest.mark.parametrize('placement', ['device', pytest.param('host', marks=pytest.mark.thorough)])
def test_compiling_may_read_constants_from_a_gpu(tiny_config, tmp_path, placement) -> None:
  """JAX reads constants back to compile them in. It was forbidden, and on GPUs, where CPUs have
  nothing to transfer, training ended with a traceback before its first step.
  """
  Watching.said.clear()
  config = tiny_config.copy_and_resolve_references().unlock()
  config.model = ConfigDict({'name': f'{__name__}:Watching'})
  loop.train(
    changed(config, epochs=2, **{'data.placement': placement}), tmp_path / placement, SILENT
  )
  assert set(Watching.said) == {None}


def test_later_dispatches_may_transfer_nothing() -> None:
  guard = sharding.TransferGuard()
  said = []
  for program in ('long', 'short', 'long', 'short'):
    with guard.around(program):
      said.append(jax.config.jax_transfer_guard_device_to_host)
  assert said == [None, None, 'disallow', 'disallow']


class Stream(data.Split):
  """A split that is read ahead of the batches and breaks after some."""

  def batches(self, indices: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    ahead = [rows for rows, _ in zip(indices, range(3), strict=False)]
    yield from (self.images[rows] for rows in ahead)
    raise UserError('photograph 17 is damaged')


def stream_as(kind: type[data.Split], monkeypatch) -> None:
  """Runs train on a split of another kind with the same examples."""
  original = data.load_splits

  def streamed(*arguments):
    splits = original(*arguments)
    return data.Splits(**{**vars(splits), 'train': kind(**vars(splits.train))})

  monkeypatch.setattr('cifar_jax.data.load_splits', streamed)


def test_an_error_of_a_stream_ends_the_run(tiny_config, tmp_path, monkeypatch) -> None:
  stream_as(Stream, monkeypatch)
  config = changed(tiny_config, **{'data.placement': 'host'}, **tiny.ONE_CONVOLUTION)
  with pytest.raises(UserError, match='photograph 17 is damaged'):
    loop.train(config, tmp_path, SILENT)


@pytest.mark.thorough
@pytest.mark.parametrize(
  ('longer', 'share'),
  # A source that takes twice as long again as the update of the batch before, however long that is
  # on a busy machine; and one that is done before the update.
  [(2.0, 2 / 3), (None, 0.0)],
)
def test_share_of_time_spent_waiting(
  tiny_config, tmp_path, monkeypatch, capsys, longer, share
) -> None:
  updates: queue.Queue[float] = queue.Queue()  # seconds that each took; first the permission
  updates.put(0.0)
  compiled = []  # in the first, whose time is no training time

  class Paced(data.Split):
    def batches(self, indices: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
      for rows in indices:
        if longer is not None:
          time.sleep(longer * updates.get())
        yield self.images[rows]

  build_trainer = loop.build_trainer

  def slowed(config, splits):
    trainer = build_trainer(config, splits)
    made = trainer.train_step

    def train_step(keys, state, batch):
      start = time.perf_counter()
      time.sleep(0.1)
      found = jax.block_until_ready(made(keys, state, batch))
      updates.put(time.perf_counter() - start if compiled else 0.1)
      compiled.append(True)
      return found

    monkeypatch.setitem(vars(trainer), 'train_step', train_step)
    return trainer

  stream_as(Paced, monkeypatch)
  monkeypatch.setattr(loop, 'build_trainer', slowed)
  # 18 steps of one epoch, all alike.
  config = changed(
    tiny_config, epochs=1, batch_size=10, **{'data.placement': 'host', 'model.head': ('flatten',)}
  )
  results = loop.train(config, tmp_path, Progress('lines'))
  assert results['input_bound_fraction'] == pytest.approx(share, abs=0.1)
  lines = [line for line in capsys.readouterr().out.splitlines() if 'waiting' in line]
  assert lines == [
    f'data        {100 * results["input_bound_fraction"]:.1f} % of training time spent waiting for '
    'images'
  ]


def test_data_on_the_devices_is_not_waited_for(tiny_config, tmp_path, capsys) -> None:
  results = loop.train(
    changed(tiny_config, epochs=1, **tiny.ONE_CONVOLUTION), tmp_path, Progress('lines')
  )
  assert results['input_bound_fraction'] == 0
  assert 'waiting' not in capsys.readouterr().out


@pytest.mark.parametrize('busy', [True, False])
def test_only_idle_devices_wait(tiny_config, busy) -> None:
  """The second batch comes 0.2 s after the first update, which runs until then or has ended."""

  class Late(data.Split):
    def batches(self, indices: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
      for place, rows in enumerate(indices):
        if place == 1:
          updated.wait()
          time.sleep(0.2)
        yield self.images[rows]

  updated = threading.Event()
  report = SimpleNamespace(loss=SimpleNamespace(is_ready=lambda: not busy))
  trainer, splits = trainer_on(tiny_config, 1, **{'data.placement': 'host'})
  vars(trainer)['train_step'] = lambda keys, state, batch: (state, report)
  feed = HostPrefetcher(trainer, Late(**vars(splits.train)), 0)
  feed.update(None, 0, 1, False)
  before = feed.input_wait_seconds  # for the first batch, which is waited for
  updated.set()
  feed.update(None, 1, 1, False)
  feed.close()
  waited = feed.input_wait_seconds - before
  assert waited == 0 if busy else 0 < waited < 10  # a loaded machine takes its time


def test_images_that_do_not_fit(tiny_config, monkeypatch) -> None:
  """180 + 20 + 90 images of 192 bytes are 54.4 KiB, more than three quarters of 72 KiB."""
  monkeypatch.setattr(sharding, 'bytes_of_a_device', lambda mesh: 72 * 2**10)
  with pytest.raises(UserError, match=r'take .* on each device, .*--config\.data\.placement=host'):
    trainer_on(tiny_config, 1)
  trainer_on(tiny_config, 1, **{'data.placement': 'host'})
  monkeypatch.setattr(sharding, 'bytes_of_a_device', lambda mesh: 73 * 2**10)
  trainer_on(tiny_config, 1)


def test_memory_of_a_cpu_device_is_a_share_of_the_hosts() -> None:
  one, eight = (sharding.bytes_of_a_device(sharding.make_mesh(count)) for count in (1, 8))
  assert one is not None
  assert eight is not None
  assert eight == pytest.approx(one / 8, rel=0.2)


def test_mapped_steps_want_their_data_on_the_devices(tiny_config) -> None:
  with pytest.raises(UserError, match='parallel=pmap needs one process'):
    trainer_on(tiny_config, 2, parallel='pmap', **{'data.placement': 'host'})
