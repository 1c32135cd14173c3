"""How the training examples reach the steps: all of them on every device, or a batch at a time.

`config.data.placement` chooses. Either way update s uses the same examples with the same random
numbers, since both follow from (seed, s). Images that do not fit on a device stay with the host,
see `prefetcher`.

To stream images that do not even fit in the host's memory, give `data.Splits` a split whose
`batches` yields them as they come, from Grain for example: see `data.Examples`.
"""

from typing import Any, Protocol

from cifar_jax.data import Examples
from cifar_jax.devices import sharding
from cifar_jax.trainer.build import Trainer
from cifar_jax.trainer.prefetcher import HostPrefetcher
from cifar_jax.training import steps


class InputPipeline(Protocol):
  """What the loop needs.

  Attributes:
    supports_scan: Whether one dispatch may make many updates.
    input_wait_seconds: The seconds so far in which the devices had no update to work on because its
      batch was not there.
  """

  supports_scan: bool
  input_wait_seconds: float

  def update(
    self, state: steps.TrainState, step: int, count: int, masked: bool
  ) -> tuple[steps.TrainState, steps.StepMetrics]:
    """Makes updates step .. step + count - 1, all of one epoch; does not wait for them.

    The one short batch of an epoch comes alone and `masked`.
    """

  def close(self) -> None:
    """Stops what runs in the background."""


def make_input_pipeline(trainer: Trainer, split: Examples, first_step: int) -> InputPipeline:
  """What `config.data.placement` asks for, for updates from `first_step` on."""
  if trainer.config.data.placement == 'host':
    return HostPrefetcher(trainer, split, first_step)
  return DeviceDataset(trainer, split)


class DeviceDataset:
  """The whole training set lives on every device; a step costs the host nothing."""

  supports_scan = True
  input_wait_seconds = 0.0

  def __init__(self, trainer: Trainer, split: Examples):
    self._trainer = trainer
    self._images, self._labels = sharding.replicate((split.images, split.labels), trainer.mesh)
    self._order: Any = None
    self._ordered_epoch = -1
    self._guard = sharding.TransferGuard()

  def update(
    self, state: steps.TrainState, step: int, count: int, masked: bool
  ) -> tuple[steps.TrainState, steps.StepMetrics]:
    """Makes the updates, as `InputPipeline.update` describes."""
    trainer = self._trainer
    epoch = step // trainer.steps_per_epoch
    if epoch != self._ordered_epoch:
      epoch_on_devices = sharding.replicate(epoch, trainer.mesh)
      self._order = trainer.epoch_order(trainer.keys, epoch_on_devices)
      self._ordered_epoch = epoch
    function = trainer.train_steps(count)
    with self._guard.around((count, masked)):
      return function(trainer.keys, state, self._images, self._labels, self._order, masked=masked)

  def close(self) -> None:
    """Has nothing to stop: no thread works in the background."""
