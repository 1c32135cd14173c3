"""What labels mean to a run, as one value: one class an image, or several labels.

Steps, evaluation, prediction and reports ask it, and nothing else tells the two apart.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from cifar_jax.training import losses, multi_label
from cifar_jax.training.losses import Loss
from cifar_jax.utils.array_types import Labels, Logits, PerExample


@dataclasses.dataclass(frozen=True)
class Task:
  """What is made of logits and labels.

  Attributes:
    name: As about.json has it.
    loss: What is reported as the loss of an example.
    minimized: (label smoothing, class weights, positive weights) -> the loss that is minimized;
      (): no weights.
    correct: (logits, labels) -> float32 [B] in 0..1, of which the accuracy is the mean.
    activation: The name of what makes probabilities of logits.
    probabilities: Logits -> probabilities of the same shape.
    is_right: With the host, (predicted classes int [N], labels) -> bool [N], whether each is one of
      its image.
    measure: (logits float32 [N, classes], labels, thresholds or None) -> the metrics of a whole
      set, which are no means over its examples; None where all are, and `losses.Metrics` does.
    measured: The names of the metrics of a set beside loss and accuracy.
  """

  name: str
  loss: Loss
  minimized: Callable[[Any, Sequence[float], Sequence[float]], Loss]
  correct: Callable[[Logits, Labels], PerExample]
  activation: str
  probabilities: Callable[[Logits], Logits]
  is_right: Callable[[np.ndarray, np.ndarray], np.ndarray]
  measure: Callable[[np.ndarray, np.ndarray, Sequence[float] | None], dict[str, Any]] | None = None
  measured: tuple[str, ...] = ()

  @property
  def metrics(self) -> tuple[str, ...]:
    """The names of all numbers that a set is measured by."""
    return 'loss', 'accuracy', *self.measured


def _minimized_of_one(smoothing: Any, weights: Sequence[float], _: Sequence[float]) -> Loss:
  loss = functools.partial(losses.cross_entropy, label_smoothing=smoothing)
  return losses.class_weighted(loss, weights) if weights else loss


def _minimized_of_several(
  smoothing: Any, weights: Sequence[float], positive: Sequence[float]
) -> Loss:
  return functools.partial(
    multi_label.binary_cross_entropy,
    label_smoothing=smoothing,
    class_weights=weights,
    positive_weights=positive,
  )


SINGLE_LABEL = Task(
  name='single_label',
  loss=losses.cross_entropy,
  minimized=_minimized_of_one,
  correct=losses.right_classes,
  activation='softmax',
  probabilities=jax.nn.softmax,
  is_right=np.equal,
)
MULTI_LABEL = Task(
  name='multi_label',
  loss=multi_label.binary_cross_entropy,
  minimized=_minimized_of_several,
  correct=multi_label.right_labels,
  activation='sigmoid',
  probabilities=jax.nn.sigmoid,
  is_right=multi_label.is_among,
  measure=multi_label.measure,
  measured=('map', 'macro_f1', 'micro_f1'),
)


def of_labels(labels: Any) -> Task:
  """The task of labels as `data.Split` has them, int32 [N] or uint8 [N, classes]."""
  return SINGLE_LABEL if labels.ndim == 1 else MULTI_LABEL


def of_about(about: Mapping[str, Any]) -> Task:
  """The task of a run by its about.json."""
  return MULTI_LABEL if about.get('task') == MULTI_LABEL.name else SINGLE_LABEL
