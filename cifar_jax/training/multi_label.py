"""Images with several labels or none: a sigmoid for each class, its loss, and what the scores of a
whole set are worth.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cifar_jax.utils.array_types import (
  Labels,
  Logits,
  MultiHot,
  PerExample,
  Probabilities,
  Scalar,
)

THRESHOLDS = 'thresholds'  # among the metrics of a set on which they were chosen
_TINY = 1e-300
EVEN = 0.5  # the threshold of a label before one is chosen


def binary_cross_entropy(
  logits: Logits,
  labels: Labels,
  label_smoothing: float | Scalar = 0.0,
  class_weights: Sequence[float] = (),
  positive_weights: Sequence[float] = (),
) -> PerExample:
  """The mean over the classes of the cross-entropy of each sigmoid with its label.

  Args:
    logits: Of any floating type; computed in float32.
    labels: uint8 [B, classes] of 0 and 1.
    label_smoothing: A number s in [0, 1): the targets are s / 2 and 1 - s / 2, as in Keras.
    class_weights: The factor of each class; (): all 1. The mean is over the number of classes.
    positive_weights: The factor of the part of each class's loss that comes from a label of 1, as
      PyTorch's `pos_weight`; (): all 1.

  Returns:
    The losses in nats.
  """
  logits = logits.astype(jnp.float32)
  targets = labels.astype(jnp.float32) * (1 - label_smoothing) + label_smoothing / 2
  positive = -targets * jax.nn.log_sigmoid(logits)
  if len(positive_weights):
    positive *= jnp.asarray([positive_weights], jnp.float32)
  losses = positive - (1 - targets) * jax.nn.log_sigmoid(-logits)
  if len(class_weights):
    losses *= jnp.asarray([class_weights], jnp.float32)
  return losses.mean(axis=-1)


def right_labels(logits: Logits, labels: Labels) -> PerExample:
  """The share of the labels of each example that a probability above 1/2 predicts rightly."""
  return ((logits > 0) == (labels > 0)).astype(jnp.float32).mean(axis=-1)


def balanced_positive_weights(labels: MultiHot) -> tuple[float, ...]:
  """For each class the number of images without it over that of images with it, of which there is
  one at least.
  """
  positives = labels.sum(axis=0, dtype=np.int64)
  return tuple(((len(labels) - positives) / positives).tolist())


class Curve(NamedTuple):
  """Precision against recall of one class, at each score from the highest to the lowest.

  Attributes:
    precision: float64 [scores].
    recall: float64 [scores]; NaN of a class without an image.
    scores: The different scores, float64 [scores], at or above which the class is predicted.
  """

  precision: np.ndarray
  recall: np.ndarray
  scores: np.ndarray

  @property
  def average_precision(self) -> float:
    """The sum of precision times the step of recall, as scikit-learn's `average_precision_score`;
    NaN of a class without an image.
    """
    return float(np.sum(np.diff(self.recall, prepend=0) * self.precision))


def curve(labels: np.ndarray, scores: np.ndarray) -> Curve:
  """The curve of one class; examples with equal scores are one point of it.

  Args:
    labels: 0 and 1, [N].
    scores: What is higher the more likely the label, [N].
  """
  order = np.argsort(-scores, kind='stable')
  ranked = scores[order].astype(np.float64)
  last = np.append(np.diff(ranked) != 0, True) if len(ranked) else np.zeros(0, bool)
  hits = np.cumsum(labels[order], dtype=np.int64)[last]
  counts = np.flatnonzero(last) + 1
  total = hits[-1] if len(hits) and hits[-1] else np.nan
  return Curve(hits / counts, hits / total, ranked[last])


def mean_average_precision(labels: MultiHot, scores: Probabilities) -> float:
  """The mean over the classes of the average precision; those without an image in the set are left
  out, and of none it is NaN.
  """
  every = [curve(*columns).average_precision for columns in zip(labels.T, scores.T, strict=True)]
  found = [value for value in every if not np.isnan(value)]
  return float(np.mean(found)) if found else float('nan')


def best_thresholds(labels: MultiHot, scores: Probabilities) -> tuple[float, ...]:
  """For each class the threshold at or above which to predict it for the largest F1 on these
  examples: in the middle between two scores, of equally good ones the highest; 1/2 for a class
  without an image.
  """

  def best(labels: np.ndarray, scores: np.ndarray) -> float:
    found = curve(labels, scores)
    if not labels.any():
      return EVEN
    # F1 = 2 / (1 / precision + 1 / recall), without the quotient by 0.
    place = int(
      np.argmax(found.precision * found.recall / (found.precision + found.recall + _TINY))
    )
    lower = found.scores[place + 1] if place + 1 < len(found.scores) else 0.0
    return float((found.scores[place] + lower) / 2)

  return tuple(best(*columns) for columns in zip(labels.T, scores.T, strict=True))


class Counts(NamedTuple):
  """Decisions for each class, int64 [classes] each: hits, and examples with the label and with the
  prediction.
  """

  hits: np.ndarray
  labeled: np.ndarray
  predicted: np.ndarray

  @property
  def precision(self) -> np.ndarray:
    """float64 [classes]; 0 where nothing is predicted."""
    return self.hits / np.maximum(self.predicted, 1)

  @property
  def recall(self) -> np.ndarray:
    """float64 [classes]; 0 where nothing is labeled."""
    return self.hits / np.maximum(self.labeled, 1)

  @property
  def f1(self) -> np.ndarray:
    """float64 [classes]; NaN of a class neither in truth nor among the predictions."""
    both = (self.labeled + self.predicted).astype(np.float64)
    return 2 * self.hits / np.where(both > 0, both, np.nan)

  @property
  def macro_f1(self) -> float:
    """The mean over the classes that have one; of none NaN."""
    found = self.f1[~np.isnan(self.f1)]
    return float(found.mean()) if len(found) else float('nan')

  @property
  def micro_f1(self) -> float:
    """That of the decisions for all classes together; NaN where there is no label and no
    prediction.
    """
    both = int(self.labeled.sum() + self.predicted.sum())
    return float(2 * self.hits.sum() / both) if both else float('nan')


def decisions(labels: MultiHot, scores: Probabilities, thresholds: Sequence[float]) -> Counts:
  """What scores at or above the thresholds make of a set."""
  predicted = scores >= np.asarray(thresholds)
  hits = predicted & (labels > 0)
  return Counts(*(each.sum(axis=0, dtype=np.int64) for each in (hits, labels > 0, predicted)))


def is_among(predicted: np.ndarray, labels: MultiHot) -> np.ndarray:
  """Whether each predicted class, int [N], is among the labels of its image, bool [N]."""
  return np.take_along_axis(labels, predicted[:, None], axis=1)[:, 0] > 0


def measure(
  logits: np.ndarray, labels: MultiHot, thresholds: Sequence[float] | None
) -> dict[str, Any]:
  """The metrics of a whole set.

  Args:
    logits: float32 [N, classes].
    thresholds: Of each class; None: those that are best on this set, which are among the results.

  Returns:
    loss and accuracy, the means of `binary_cross_entropy` and `right_labels`; map, the mean average
    precision; macro_f1 and micro_f1 at the thresholds.
  """
  wide, scores = logits.astype(np.float64), scores_of(logits)
  losses = np.logaddexp(0, -wide) + (1 - labels.astype(np.float64)) * wide
  chosen = best_thresholds(labels, scores) if thresholds is None else thresholds
  counts = decisions(labels, scores, chosen)
  return {
    'loss': float(losses.mean()),
    'accuracy': float(np.mean((logits > 0) == (labels > 0))),
    'map': mean_average_precision(labels, scores),
    'macro_f1': counts.macro_f1,
    'micro_f1': counts.micro_f1,
    **({THRESHOLDS: chosen} if thresholds is None else {}),
  }


def scores_of(logits: np.ndarray) -> np.ndarray:
  """The sigmoids, float32, of logits [N, classes], with the host."""
  return np.asarray(np.exp(-np.logaddexp(0, -logits.astype(np.float64))), np.float32)
