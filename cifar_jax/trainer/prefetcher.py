"""Training examples that stay with the host, which puts the next few batches on the devices while
they work on this one.
"""

import contextlib
import queue
import threading
import time
from typing import Any

from cifar_jax.data import Examples
from cifar_jax.devices import sharding
from cifar_jax.trainer.build import Trainer
from cifar_jax.trainer.host_batches import train_batches
from cifar_jax.training import steps

_BATCHES_AHEAD = 3  # on the devices or on their way


class HostPrefetcher:
  """A thread puts one batch after the other on the devices, a few ahead of the updates.

  Each process reads the rows that its own devices work on and no others.
  """

  supports_scan = False

  def __init__(self, trainer: Trainer, split: Examples, first_step: int):
    self._trainer = trainer
    self._batches: queue.Queue[steps.Batch | BaseException] = queue.Queue(_BATCHES_AHEAD)
    self.input_wait_seconds = 0.0
    self._guard = sharding.TransferGuard()
    self._last_loss: Any = None  # of the last update
    self._closed = threading.Event()
    self._thread = threading.Thread(
      target=self._fill, args=(split, first_step), name='batches', daemon=True
    )
    self._thread.start()

  def update(
    self, state: steps.TrainState, step: int, count: int, masked: bool
  ) -> tuple[steps.TrainState, steps.StepMetrics]:
    """Makes one update, as `InputPipeline.update` describes; updates must come in order."""
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
