"""What a run computes, as one value: the network, the rules and the numbers that its steps follow.

`trainer.recipe.make_recipe` builds it from a config and data; `steps` turns it into functions. A
new ingredient of training is a new field here, with a default that leaves it out.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import optax
from flax import linen as nn

from cifar_jax.augment import Augmentation, Mix
from cifar_jax.augment.normalize import Normalize, Statistics
from cifar_jax.optim import Average
from cifar_jax.training.losses import Loss
from cifar_jax.training.tasks import SINGLE_LABEL, Task
from cifar_jax.utils.array_types import Scalar

# (key, how many) -> int32 [how many], the numbers of examples.
Draw = Callable[[jax.Array, int], jax.Array]


@dataclasses.dataclass(frozen=True)
class Recipe:
  """The pure parts of a run; no arrays, no devices.

  Attributes:
    module: The network, `module(images, train, mask) -> logits`.
    image_shape: (H, W, C).
    optimizer: An Optax chain, its schedule inside.
    loss: (logits [B, classes], labels as in `steps.Batch`) -> float32 [B], what is reported as the
      loss, of training and of evaluation.
    normalize: uint8 [B, H, W, C] -> float32 of the same shape.
    augment: (key of the step, key of the examples, uint8 images, their indices, epoch) -> float32
      images, normalized.
    examples: The number of examples in the training set.
    batch_size: The number of examples per update, over all devices together.
    drop_remainder: Whether the short last batch of an epoch is left out.
    statistics: What `normalize` took from the training images, to be kept with the run; or None.
    task: What the labels mean, and what else is made of them and the logits.
    draw: What the examples of an epoch are drawn by, in place of each of them once; or None.
    class_weights: The factor of the training loss of each class, as `training_loss` has them; ():
      all 1.
    positive_weights: Likewise the factor of each class's loss where an image has its label; (): 1.
    training_loss: A function like `loss` that is minimized in its place, as with label smoothing or
      class weights; None where both are one.
    penalty: params -> float32 [], added to the mean loss of training; or None.
    grad_accum_steps: How many parts of a batch are computed one after another.
    sam_rho: The radius of sharpness-aware minimization; 0: none.
    mix: What makes mixtures of two images and their labels, or None.
    average: What follows each update, or None.
    data_dependent_init: (params, images uint8 [N, H, W, C]) -> params, the part of initialization
      that uses training images; or None.
    ghost_batch_size: Rows over which BatchNorm takes its statistics; 0 for the whole batch.
    batch_multiple: The batch is filled to a multiple of it with rows that do not count.
    tta: The key of `tta.TTA_TRANSFORMS` over which an example's logits are averaged in evaluation.
    tta_fraction: The fraction of a set to which that is done, see `tta.least_confident`.
  """

  module: nn.Module
  image_shape: tuple[int, ...]
  optimizer: optax.GradientTransformation
  loss: Loss
  normalize: Normalize
  augment: Augmentation
  examples: int
  batch_size: int
  drop_remainder: bool
  statistics: Statistics | None = None
  task: Task = SINGLE_LABEL
  draw: Draw | None = None
  class_weights: tuple[float, ...] = ()
  positive_weights: tuple[float, ...] = ()
  training_loss: Loss | None = None
  penalty: Callable[[Any], Scalar] | None = None
  grad_accum_steps: int = 1
  sam_rho: float = 0.0
  mix: Mix | None = None
  average: Average | None = None
  data_dependent_init: Callable[[Any, Any], Any] | None = None
  ghost_batch_size: int = 0
  batch_multiple: int = 1
  tta: str = 'none'
  tta_fraction: float = 1.0

  @property
  def steps_per_epoch(self) -> int:
    """The updates in one epoch; a short last batch counts if it is kept."""
    return steps_per_epoch(self.examples, self.batch_size, self.drop_remainder)

  @property
  def padded_batch_size(self) -> int:
    """The rows of a batch as the devices see it."""
    return -(-self.batch_size // self.batch_multiple) * self.batch_multiple

  @property
  def short_last_batch(self) -> bool:
    """Whether the last batch of an epoch has fewer examples than the others."""
    return not self.drop_remainder and self.examples % self.batch_size > 0


def steps_per_epoch(examples: int, batch_size: int, drop_remainder: bool) -> int:
  """The updates in one epoch; a short last batch counts if it is kept."""
  return examples // batch_size if drop_remainder else -(-examples // batch_size)
