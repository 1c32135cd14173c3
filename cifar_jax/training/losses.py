"""Losses, one number per example, so that masks stay with the caller; and exact means over the
examples that count, as a `clu.metrics` collection that lives on the device.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from clu import metrics
from flax import struct

from cifar_jax.utils.array_types import Labels, Logits, Mask, PerExample, Scalar

Loss = Callable[[Logits, Labels], PerExample]


@struct.dataclass
class MixedLabels:
  """The labels of a batch: one class per row, or a mixture of two.

  Attributes:
    labels: int32 [B].
    others: int32 [B], the second classes; None without mixtures.
    weight: float32 [B], the part of `labels` in the mixtures.
  """

  labels: jax.Array
  others: jax.Array | None = None
  weight: jax.Array | None = None

  def losses(self, loss: Loss, logits: Logits) -> PerExample:
    """The losses of the rows; one that is linear in the labels, as all here, of mixtures too."""
    if self.others is None or self.weight is None:
      return loss(logits, self.labels)
    return self.weight * loss(logits, self.labels) + (1 - self.weight) * loss(logits, self.others)

  def main(self) -> Labels:
    """The classes with the larger part."""
    if self.others is None or self.weight is None:
      return self.labels
    return jnp.where(self.weight >= 0.5, self.labels, self.others)


def cross_entropy(
  logits: Logits, labels: Labels, label_smoothing: float | Scalar = 0.0
) -> PerExample:
  """Cross-entropy of the softmax of `logits` with the labels.

  Args:
    logits: Of any floating type; computed in float32.
    labels: Integers in 0..K-1, K the number of classes. A label outside has no defined loss: give
      padding any valid label and mask it.
    label_smoothing: A number s in [0, 1), which is traced where runs differ in it. The target is
      1 - s on the label plus s / K on each of the K classes, the label's included (Szegedy et al.,
      2016), as in Keras and PyTorch.

  Returns:
    The losses in nats.
  """
  log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
  of_label = jnp.take_along_axis(log_probabilities, labels[:, None], axis=-1)[:, 0]
  plain = not isinstance(label_smoothing, jax.Array) and label_smoothing == 0
  if plain:  # keeps a logit of -inf, a class ruled out, from becoming 0 * inf
    return -of_label
  return -(1 - label_smoothing) * of_label - label_smoothing * log_probabilities.mean(axis=-1)


def class_weighted(loss: Loss, weights: Sequence[float]) -> Loss:
  """A loss times the weight of each label, one weight per class.

  As with Keras's `class_weight`, a mean over it is over the number of examples, not over the sum of
  their weights.
  """

  def weighted(logits: Logits, labels: Labels) -> PerExample:
    return jnp.asarray(weights, jnp.float32)[labels] * loss(logits, labels)

  return weighted


def balanced_class_weights(labels: np.ndarray, num_classes: int) -> tuple[float, ...]:
  """The weight N / (K * count) of each class: all classes have the same part in the loss, and the
  mean weight of the N examples is 1.

  Args:
    labels: int32 [N], from 0.
    num_classes: The number of weights; those of classes without an example are 0, and K is the
      number of the others.
  """
  counts = np.bincount(labels, minlength=num_classes)
  classes = np.count_nonzero(counts)
  return tuple(len(labels) / (classes * int(count)) if count else 0.0 for count in counts)


def kernel_penalty(l1: float, l2: float) -> Callable[[Any], Scalar] | None:
  """params -> l1 times the sum of |w| plus l2 times the sum of w^2 over all kernels, rank 2 and up.

  Keras's `regularizers.L1L2` on every layer; None if both are 0. The gradient of l2 is 2 l2 w, so
  sgd with weight_decay = 2 l2 on kernels does the same.
  """
  if not l1 and not l2:
    return None

  def penalty(params: Any) -> Scalar:
    kernels = [array for array in jax.tree.leaves(params) if array.ndim >= 2]
    return sum(
      (l1 * jnp.sum(jnp.abs(w)) + l2 * jnp.sum(jnp.square(w)) for w in kernels), jnp.zeros(())
    )

  return penalty


@struct.dataclass
class Metrics(metrics.Collection):
  """Mean loss and accuracy over every example that was counted once.

  Sums and counts are kept, never means of means, so short batches and padding (masked rows) do not
  bias the result.
  """

  loss: metrics.Average.from_output('loss')  # type: ignore[valid-type]
  accuracy: metrics.Average.from_output('correct')  # type: ignore[valid-type]


def batch_metrics(losses: PerExample, logits: Logits, labels: Labels, mask: Mask | None) -> Metrics:
  """The metrics of the rows of one batch that count; None: all of them."""
  correct = (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)
  if mask is None:
    mask = jnp.ones(labels.shape, bool)
  return Metrics.single_from_model_output(loss=losses, correct=correct, mask=mask)
