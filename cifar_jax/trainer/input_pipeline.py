"""How the training examples reach the steps: all of them on every device, or a batch at a time.

`config.data.placement` chooses. Either way update s uses the same examples with the same random
numbers, since both follow from (seed, s). Images that do not fit on a device stay with the host,
which puts the next few batches on the devices while they work on this one.

To stream images that do not even fit in the host's memory, give `data.Splits` a split whose
`batches` yields them as they come, from Grain for example: see `data.Examples`.
"""

import contextlib
import queue
import threading
import time
from typing import Any

from cifar_jax.data import Examples
from cifar_jax.devices import sharding
from cifar_jax.trainer.build import Trainer, Update
from cifar_jax.trainer.host_batches import train_batches
from cifar_jax.training import steps

_BATCHES_AHEAD = 3  # on the devices or on their way


class InputPipeline:
  """What the loop needs.

  Attributes:
    supports_scan: Whether one dispatch may make many updates.
    input_wait_seconds: The seconds so far in which the devices had no update to work on because its
      batch was not there.
  """

  supports_scan = False
  input_wait_seconds = 0.0

  def update(self, state: steps.TrainState, step: int, count: int, masked: bool) -> Update:
    """Makes updates step .. step + count - 1, all of one epoch; does not wait for them.

    The one short batch of an epoch comes alone and `masked`.
    """
    raise NotImplementedError

  def close(self) -> None:
    """Stops what runs in the background, if anything does."""


def make_input_pipeline(trainer: Trainer, split: Examples, first_step: int) -> InputPipeline:
  """What `config.data.placement` asks for, for updates from `first_step` on."""
  if trainer.config.data.placement == 'host':
    return HostPrefetcher(trainer, split, first_step)
  return DeviceDataset(trainer, split)


class DeviceDataset(InputPipeline):
  """The whole training set lives on every device; a step costs the host nothing."""

  supports_scan = True

  def __init__(self, trainer: Trainer, split: Examples):
    self._trainer = trainer
    self._images, self._labels = sharding.replicate(
      (sharding.as_stored(split.images, trainer.mesh), split.labels), trainer.mesh
    )
    self._order: Any = None
    self._ordered_epoch = -1
    self._guard = sharding.TransferGuard()

  def update(self, state: steps.TrainState, step: int, count: int, masked: bool) -> Update:
    """Makes the updates as one program."""
    trainer = self._trainer
    epoch = step // trainer.steps_per_epoch
    if epoch != self._ordered_epoch:
      epoch_on_devices = sharding.replicate(epoch, trainer.mesh)
      self._order = trainer.epoch_order(trainer.keys, epoch_on_devices)
      self._ordered_epoch = epoch
    function = trainer.train_steps(count)
    with self._guard.around((count, masked)):
      return function(trainer.keys, state, self._images, self._labels, self._order, masked=masked)


class HostPrefetcher(InputPipeline):
  """A thread puts one batch after the other on the devices, a few ahead of the updates.

  Each process reads the rows that its own devices work on and no others.
  """

  def __init__(self, trainer: Trainer, split: Examples, first_step: int):
    self._trainer = trainer
    self._batches: queue.Queue[steps.Batch | BaseException] = queue.Queue(_BATCHES_AHEAD)
    self._guard = sharding.TransferGuard()
    self._last_loss: Any = None  # of the last update
    self._closed = threading.Event()
    self._thread = threading.Thread(
      target=self._fill, args=(split, first_step), name='batches', daemon=True
    )
    self._thread.start()

  def update(self, state: steps.TrainState, step: int, count: int, masked: bool) -> Update:
    """Makes one update; updates must come in order."""
    del step, count, masked
    batch = self._next_batch()
    if isinstance(batch, BaseException):
      raise batch
    with self._guard.around((len(batch.labels), batch.mask is None)):
      state, metrics = self._trainer.train_step(self._trainer.keys, state, batch)
    self._last_loss = metrics.loss
    return state, metrics

  def close(self) -> None:
    """Stops the thread that prepares batches."""
    self._closed.set()
    with contextlib.suppress(queue.Empty):
      while True:  # makes room, in case the thread waits for it
        self._batches.get_nowait()
    self._thread.join(timeout=5)

  def _next_batch(self) -> steps.Batch | BaseException:
    with contextlib.suppress(queue.Empty):
      return self._batches.get_nowait()
    start = time.perf_counter()
    batch = self._batches.get()
    # While the devices are still at work on earlier updates, only the host waits. When they ended
    # is not known, so an update that ended meanwhile counts as if it had ended at the start.
    if self._last_loss is None or self._last_loss.is_ready():
      self.input_wait_seconds += time.perf_counter() - start
    return batch

  def _fill(self, split: Examples, first_step: int) -> None:
    trainer = self._trainer
    try:
      for batch in train_batches(
        trainer.recipe, trainer.config.seed, split, trainer.mesh, first_step, trainer.total_steps
      ):
        if self._closed.is_set():
          return
        self._batches.put(batch)
    except BaseException as error:  # is raised in `update`
      self._batches.put(error)
