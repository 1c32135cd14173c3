"""Examples that stay with the host against examples on the devices."""

from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from cifar_jax import data, loop
from cifar_jax.devices import device_memory, parallel
from cifar_jax.devices.batches import train_batches
from cifar_jax.errors import UserError
from cifar_jax.run_folder.progress import Progress
from tests.devices.test_parallel import SMALL, assert_close, experiment_on
from tests.test_loop import changed, rows_of, state_of

SILENT = Progress('silent')


def test_the_host_sends_the_batches_that_the_devices_would_pick(tiny_config) -> None:
  """On three devices, where 32 rows are filled to 33; from step 4 on into the second epoch."""
  values = {'uneven_batch': 'pad', 'data.placement': 'host'}
  experiment, splits = experiment_on(tiny_config, 3, **values, **SMALL)
  batches = list(train_batches(experiment.recipe, splits.train, experiment.mesh, 4, 8))
  for step, batch in zip(range(4, 8), batches, strict=True):
    epoch, position = divmod(step, 6)
    order = np.asarray(experiment.epoch_order(parallel.replicate(epoch, experiment.mesh)))
    rows = order[32 * position : 32 * position + 32]
    counted = 20 if position == 5 else 32  # 180 examples
    np.testing.assert_array_equal(batch.indices[:32], rows)
    np.testing.assert_array_equal(batch.mask, np.arange(33) < counted)
    np.testing.assert_array_equal(batch.images[:32], splits.train.images[rows])
    np.testing.assert_array_equal(batch.labels[:32], splits.train.labels[rows])
    assert len(batch.images.sharding.device_set) == 3


def test_a_run_from_the_host_is_that_on_the_devices(tiny_config, tmp_path) -> None:
  """Also stopped in mid-epoch and continued from the other place."""
  config = changed(tiny_config, devices=2, epochs=2, **SMALL)
  host = changed(config, **{'data.placement': 'host'})
  loop.train(config, tmp_path / 'device', SILENT)
  loop.train(changed(host, max_steps=4), tmp_path / 'host', SILENT)
  loop.train(host, tmp_path / 'host', SILENT)
  assert_close(state_of(config, tmp_path / 'device'), state_of(config, tmp_path / 'host'))
  last = [rows_of(tmp_path / name)[-1] for name in ('device', 'host')]
  assert last[0]['val_accuracy'] == last[1]['val_accuracy']
  assert float(last[1]['val_loss']) == pytest.approx(float(last[0]['val_loss']), rel=1e-5)


class Stream(data.Split):
  """A split that is read ahead of the batches and breaks after some."""

  def batches(self, indices: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    ahead = [rows for rows, _ in zip(indices, range(3), strict=False)]
    yield from (self.images[rows] for rows in ahead)
    raise UserError('photograph 17 is damaged')


def test_an_error_of_a_stream_ends_the_run(tiny_config, tmp_path, monkeypatch) -> None:
  original = data.split

  def streamed(*arguments):
    splits = original(*arguments)
    return data.Splits(**{**vars(splits), 'train': Stream(**vars(splits.train))})

  monkeypatch.setattr('cifar_jax.data.split', streamed)
  config = changed(tiny_config, **{'data.placement': 'host'}, **SMALL)
  with pytest.raises(UserError, match='photograph 17 is damaged'):
    loop.train(config, tmp_path, SILENT)


def test_images_that_do_not_fit(tiny_config, monkeypatch) -> None:
  """180 + 20 + 90 images of 192 bytes are 54.4 KiB, more than three quarters of 72 KiB."""
  monkeypatch.setattr(device_memory, 'bytes_of_a_device', lambda mesh: 72 * 2**10)
  with pytest.raises(UserError, match=r'take .* on each device, .*--config\.data\.placement=host'):
    experiment_on(tiny_config, 1)
  experiment_on(tiny_config, 1, **{'data.placement': 'host'})
  monkeypatch.setattr(device_memory, 'bytes_of_a_device', lambda mesh: 73 * 2**10)
  experiment_on(tiny_config, 1)


def test_memory_of_a_cpu_device_is_a_share_of_the_hosts() -> None:
  one, eight = (device_memory.bytes_of_a_device(parallel.make_mesh(count)) for count in (1, 8))
  assert one is not None
  assert eight is not None
  assert eight == pytest.approx(one / 8, rel=0.2)


def test_mapped_steps_want_their_data_on_the_devices(tiny_config) -> None:
  with pytest.raises(UserError, match='parallel=pmap needs one process'):
    experiment_on(tiny_config, 2, parallel='pmap', **{'data.placement': 'host'})
