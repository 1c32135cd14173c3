"""Losses: one number an example, so that masks and exact means stay with the caller."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from cifar_jax.options import BELOW_ONE, check_value


def validate(loss_config: ConfigDict | Mapping[str, Any]) -> None:
  """Raises UserError, naming the flag, if `config.loss.label_smoothing` is not in [0, 1)."""
  check_value('loss', 'label_smoothing', loss_config['label_smoothing'], BELOW_ONE)


def cross_entropy(logits: jax.Array, labels: jax.Array, label_smoothing: float = 0.0) -> jax.Array:
  """Cross-entropy of the softmax of `logits` with the labels.

  Args:
    logits: [B, K], any floating type; computed in float32.
    labels: [B], integers in 0..K-1. A label outside has no defined loss: give padding any valid
      label and mask it.
    label_smoothing: s in [0, 1), a Python number. The target is 1 - s on the label plus s / K on
      each of the K classes, the label's included (Szegedy et al., 2016), as in Keras and PyTorch.

  Returns:
    float32 [B], in nats.
  """
  log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
  of_label = jnp.take_along_axis(log_probabilities, labels[:, None], axis=-1)[:, 0]
  if label_smoothing == 0:  # keeps a logit of -inf, a class ruled out, from becoming 0 * inf
    return -of_label
  return -(1 - label_smoothing) * of_label - label_smoothing * log_probabilities.mean(axis=-1)
