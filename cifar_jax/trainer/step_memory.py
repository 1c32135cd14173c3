"""What a training step takes, asked before anything is put on a device, from shapes alone.

What is refused here is a lower bound of the memory: it cannot work in what is free now, and what
passes may still be too much.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax

from cifar_jax.data import Splits
from cifar_jax.devices import sharding
from cifar_jax.startup import host_memory
from cifar_jax.trainer import cached_features
from cifar_jax.trainer.build import Traced, Trainer
from cifar_jax.utils.errors import UserError

_FLOAT = 4  # bytes
# Up to here, what all modules make of a batch is kept by the host from step to step. XLA needs
# between half and twice of that sum for a step of the networks in configs/.
_MOST_KEPT = 2**29  # bytes


class Part(NamedTuple):
  """What takes memory, and which option makes less of it."""

  size: int
  what: str
  advice: str


def prepare(trainer: Trainer, splits: Splits, runs: int = 1) -> list[Part]:
  """Sees that a step fits, and tells the host's allocator how to deal with one of its size.

  Args:
    runs: How many runs are trained in one program.

  Returns:
    What a step of one run needs on each device.

  Raises:
    UserError: One run alone needs more memory than a device has, or no such network can be built.
  """
  needed, outputs = _needs(trainer, splits)
  _check_fits(trainer, needed)
  on_host = runs * outputs * len(trainer.mesh.local_devices)  # of CPU devices, which share it
  host_memory.keep_large_blocks(on_host <= _MOST_KEPT)
  return needed


def _check_fits(trainer: Trainer, needed: Sequence[Part]) -> None:
  there = sharding.bytes_of_a_device(trainer.mesh)
  total = sum(part.size for part in needed)
  if there is None or total <= there:
    return
  largest = max(needed)
  named = ', '.join(
    f'{sharding.gib(part.size)} for {part.what}'
    for part in sorted(needed, reverse=True)
    if part.size > total / 20
  )
  raise UserError(
    f'training needs at least {sharding.gib(total)} on each device, which has '
    f'{sharding.gib(there)} free: {named}; {largest.advice}'
  )


def _needs(trainer: Trainer, splits: Splits) -> tuple[list[Part], int]:
  """What a step of the run needs on each device at the least, and the bytes that all modules
  together make of a batch there, those of modules within others counted twice.

  Raises:
    UserError: the network cannot be built of the sizes that the config gives it.
  """
  config, recipe = trainer.config, trainer.recipe
  state, outputs, logits = _traced(trainer)
  if logits not in (None, (1, splits.num_classes)):
    raise UserError(
      f'--config.model.name: {config.model.name} makes {logits} of one image, where logits '
      f'(1, {splits.num_classes}) are needed, one for each class of the data'
    )
  parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state.params))
  held = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
  rows = -(-recipe.padded_batch_size // trainer.mesh.size)
  height, width, channels = recipe.image_shape
  border = 2 * config.augment.crop_padding
  found = [
    Part(
      held + parameters * _FLOAT,
      f'{parameters:,} parameters, their gradients and the state of the optimizer',
      'make the network smaller in --config.model',
    )
  ]
  made = rows // config.grad_accum_steps * sum(outputs)
  if cached_features.are_cached(recipe.module):  # neither images nor the frozen base are in a step
    return found, made
  found += [
    Part(
      rows * height * width * channels * _FLOAT,
      f'a batch of {rows:,} images of {height}x{width}x{channels}',
      'use a smaller --config.batch_size, or smaller images',
    ),
    Part(
      rows // config.grad_accum_steps * max(outputs, default=0),
      'what one layer makes of a batch',
      'use a smaller --config.batch_size, more --config.grad_accum_steps, or a smaller '
      'network in --config.model',
    ),
  ]
  if border:
    found.append(
      Part(
        rows * (height + border) * (width + border) * channels * _FLOAT,
        f'a batch of images with a border of {border // 2:,} pixels',
        'use a smaller --config.augment.crop_padding',
      )
    )
  if config.data.placement == 'device':
    found.append(
      Part(
        splits.image_bytes,
        'the images',
        'keep them with the host: --config.data.placement=host',
      )
    )
  return found, made


def _traced(trainer: Trainer) -> Traced:
  """What the trainer's trace tells, or a sentence on why there is none."""
  try:
    return trainer.traced
  except (TypeError, ValueError, OverflowError, ZeroDivisionError, IndexError) as error:
    if ':' in trainer.config.model.name:  # their own, whose mistakes are its author's to see
      raise
    raise UserError(
      f'--config.model: no such network can be built for images of '
      f'{"x".join(map(str, trainer.recipe.image_shape))} ({" ".join(str(error).split())[:300]})'
    ) from None
