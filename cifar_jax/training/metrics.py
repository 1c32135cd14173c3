"""Exact averages over examples, as a `clu.metrics` collection that lives on the device."""

import flax
import jax.numpy as jnp
from clu import metrics

from cifar_jax.utils.array_types import Labels, Logits, Mask, PerExample


@flax.struct.dataclass
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
