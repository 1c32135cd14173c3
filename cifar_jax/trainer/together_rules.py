"""How many runs one program trains at a time, and whether that is faster than one after the other.

The rule of speed, with what it was measured on, is here alone:

* On CPU together is faster for networks without convolutions. `python -m benchmarks together` with
  five seeds, as multiples of the time of one seed, in wall-clock time: lr 3.8, mlp 4.2, mlp with
  layers of 1280 units 4.1; cnn_simple 5.9, cnn_adv 8.5, quickstart 11.1 (in processor time 6.0). A
  small network gains what each dispatch costs. Convolutions are calls of oneDNN, which use all
  cores for one run and are made for one run after the other, while the maps between them, of all
  runs, no longer stay in the processor's cache.
* On GPU and TPU it is always taken, where it fits: a small network leaves most of the device idle.
  That is expected, not measured.
"""

import math
from collections.abc import Callable

import jax

from cifar_jax.data import Splits
from cifar_jax.devices import sharding
from cifar_jax.trainer import step_memory
from cifar_jax.trainer.build import Trainer

_SHARE = 0.9  # of a device's memory: evaluation and the copies of states for checkpoints need some


def slower(trainer: Trainer) -> str:
  """Why one run after the other takes less time here, in a few words; '' if together is faster."""
  kernels = jax.tree.leaves(trainer.init_shapes().params)
  if sharding.platform(trainer.mesh) == 'cpu' and any(kernel.ndim > 2 for kernel in kernels):
    return 'on CPU a convolution uses all cores for one run'
  return ''


def most_that_fit(
  runs: int, there: float, at_least: Callable[[int], float], compiled: Callable[[int], float]
) -> int:
  """The number of runs, 1 to `runs`, whose program has room in a device's memory.

  Args:
    there: The memory in bytes.
    at_least: A number of runs -> bytes that they need at the least.
    compiled: A number of runs -> bytes that their compiled program needs; infinity if the compiler
      finds that it is too large.
  """
  room = _SHARE * there
  while runs > 1 and at_least(runs) > room:
    runs -= 1
  while runs > 1 and (needed := compiled(runs)) > room:
    fewer = runs // 2 if needed == math.inf else int(runs * room / needed)
    runs = max(1, min(runs - 1, fewer))
  return runs


def lower_bound(
  trainer: Trainer, splits: Splits, own_data: bool, runs: int
) -> Callable[[int], float]:
  """`at_least` of `most_that_fit`: what `step_memory` knows of each run, but the images that the
  runs share once: all, or the test images where each holds out others.

  Args:
    runs: How many there are.

  Raises:
    UserError: One alone does not fit.
  """
  each = sum(part.size for part in step_memory.prepare(trainer, splits, runs))
  shared = splits.image_bytes
  if own_data:
    shared = splits.test.images.nbytes if splits.has_test else 0
  return lambda runs: shared + runs * (each - shared)
