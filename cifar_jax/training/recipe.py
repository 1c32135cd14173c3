"""What a run computes, as one value: the network, the rules and the numbers that its steps follow.

`trainer.build.make_recipe` builds it from a config and data; `steps` turns it into functions. A new
ingredient of training is a new field here, with a default that leaves it out.
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

Loss = Callable[[jax.Array, jax.Array], jax.Array]  # logits [B, classes], labels [B] -> float32 [B]


@dataclasses.dataclass(frozen=True)
class Recipe:
  """The pure parts of a run; no arrays, no devices.

  Attributes:
    module: the network, `module(images, train, mask) -> logits`.
    image_shape: (H, W, C).
    optimizer: an Optax chain, its schedule inside.
    loss: (logits [B, classes], labels int32 [B]) -> float32 [B], what is reported as the loss, of
      training and of evaluation.
    normalize: uint8 [B, H, W, C] -> float32 of the same shape.
    statistics: what `normalize` took from the training images, to be kept with the run; or None.
    augment: (key, uint8 images, their indices, epoch) -> float32 images, normalised.
    seed: of the run; an array, uint32 [], where it is the argument of a program.
    examples: in the training set.
    batch_size: over all devices together.
    last_batch: 'keep' or 'drop'.
    training_loss: a function of the same form that is minimized in place of `loss`, as with label
      smoothing or weights of classes; None where both are one.
    penalty: params -> float32 [], added to the mean loss of training; or None.
    gradient_accumulation: parts of a batch that are computed one after another.
    sharpness_radius: of sharpness-aware minimisation; 0: none.
    mix: what makes mixtures of two images and their labels, or None.
    slowed_optimizer: factor of the learning rate, float32 [] -> the optimizer with it and the same
      state; None where the rate is never lowered on the way.
    average: what follows each update, or None.
    adapt: (params, images uint8 [N, H, W, C]) -> params, a part of the initialisation that looks at
      training images; or None.
    ghost_rows: rows over which BatchNorm takes its statistics; 0 for the whole batch.
    padded_to: the batch is filled to a multiple of it with rows that do not count.
    tta: the views of `views.VIEWS` over which an example's logits are averaged in evaluation.
  """

  module: nn.Module
  image_shape: tuple[int, ...]
  optimizer: optax.GradientTransformation
  loss: Loss
  normalize: Normalize
  augment: Augmentation
  seed: int | jax.Array
  examples: int
  batch_size: int
  last_batch: str
  statistics: Statistics | None = None
  training_loss: Loss | None = None
  penalty: Callable[[Any], jax.Array] | None = None
  gradient_accumulation: int = 1
  sharpness_radius: float = 0.0
  mix: Mix | None = None
  slowed_optimizer: Callable[[jax.Array], optax.GradientTransformation] | None = None
  average: Average | None = None
  adapt: Callable[[Any, Any], Any] | None = None
  ghost_rows: int = 0
  batch_multiple: int = 1
  tta: str = 'none'

  @property
  def steps_per_epoch(self) -> int:
    """Updates in one epoch; a short last batch counts if it is kept."""
    return steps_per_epoch(self.examples, self.batch_size, self.last_batch)

  @property
  def padded_batch_size(self) -> int:
    """Rows of a batch as the devices see it."""
    return -(-self.batch_size // self.batch_multiple) * self.batch_multiple

  @property
  def short_last_batch(self) -> bool:
    """Whether the last batch of an epoch has fewer examples than the others."""
    return self.last_batch == 'keep' and self.examples % self.batch_size > 0


def steps_per_epoch(examples: int, batch_size: int, last_batch: str) -> int:
  """Updates in one epoch; a short last batch counts if it is kept."""
  return -(-examples // batch_size) if last_batch == 'keep' else examples // batch_size
