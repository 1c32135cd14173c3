"""What a set of predictions is worth: confusion, precision and recall, calibration, mistakes."""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from cifar_jax.utils.array_types import Classes, ClassProbabilities, Confusion, Probabilities

_MOST_LINES = 20


@dataclasses.dataclass(frozen=True)
class Calibration:
  """Confidence, the probability of the predicted class, against how often it is right.

  Attributes:
    confidence: The mean confidence in each bin, float64 [bins]; NaN in an empty one.
    accuracy: The share of right predictions in each bin, float64 [bins]; NaN in an empty one.
    counts: The number of predictions in each bin, int64 [bins].
    error: The expected calibration error, 0..1: the mean of |confidence - accuracy| over all
      predictions (Guo et al., "On Calibration of Modern Neural Networks", 2017).
  """

  confidence: np.ndarray
  accuracy: np.ndarray
  counts: np.ndarray
  error: float


def confusion(labels: Classes, predicted: Classes, classes: int) -> Confusion:
  """How often each class was predicted as each."""
  cells = np.asarray(labels, np.int64) * classes + predicted
  return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def matrix_text(matrix: Confusion, class_names: Sequence[str]) -> str:
  """The sums of the rows, one class per line, then the matrix, as "CIFAR-10 classification using
  Keras Tutorial" (plon.io, 2017) prints them.
  """
  width = max(len(name) for name in class_names)
  sums = [
    f'{name:>{width}} {total:>6}' for name, total in zip(class_names, matrix.sum(1), strict=True)
  ]
  digits = max(len(str(matrix.max())), 3) + 1
  rows = [
    f'{name:>{width}} ' + ''.join(f'{count:>{digits}}' for count in row)
    for name, row in zip(class_names, matrix, strict=True)
  ]
  return '\n'.join([*sums, '', *rows])


def class_report(matrix: Confusion, class_names: Sequence[str]) -> dict[str, dict[str, float]]:
  """Precision, recall and F1 of each class of a confusion matrix, and their means.

  As in scikit-learn's classification report, a quotient by 0 is 0, and a class that occurs neither
  in truth nor among the predictions is left out, of the means too.

  Returns:
    class name, 'macro avg' or 'weighted avg' -> precision, recall, f1-score (0..1) and support.
  """
  support, predicted, right = matrix.sum(1), matrix.sum(0), matrix.diagonal()
  values = {
    'precision': right / np.maximum(predicted, 1),
    'recall': right / np.maximum(support, 1),
    'f1-score': 2 * right / np.maximum(support + predicted, 1),
  }
  present = np.flatnonzero(support + predicted).tolist()
  report = {
    class_names[label]: {
      **{name: float(each[label]) for name, each in values.items()},
      'support': float(support[label]),
    }
    for label in present
  }
  total = max(int(support.sum()), 1)
  for mean, weights in (
    ('macro avg', np.full(len(present), 1 / max(len(present), 1))),
    ('weighted avg', support[present] / total),
  ):
    report[mean] = {
      **{name: float(each[present] @ weights) for name, each in values.items()},
      'support': float(support.sum()),
    }
  return report


def accuracy_interval(right: int, count: int) -> tuple[float, float]:
  """The interval in which the accuracy on all images of this kind lies with a probability of 95 %,
  where `right` of `count` were predicted right; Wilson's, which holds for few images, too.
  """
  from scipy import stats  # which takes a second to import

  interval = stats.binomtest(right, count).proportion_ci(0.95, method='wilson')
  return float(interval.low), float(interval.high)


def calibration(probabilities: Probabilities, labels: Classes, bins: int = 15) -> Calibration:
  """Confidence against accuracy in bins of equal width over 0..1.

  Args:
    bins: The number of bins, each of which includes its upper end.
  """
  confidence = probabilities.max(1).astype(np.float64)
  right = probabilities.argmax(1) == labels
  bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
  counts = np.bincount(bin_of, minlength=bins)
  with np.errstate(invalid='ignore'):
    mean_confidence = np.bincount(bin_of, confidence, bins) / counts
    accuracy = np.bincount(bin_of, right, bins) / counts
  gaps = np.nan_to_num(np.abs(mean_confidence - accuracy))
  return Calibration(mean_confidence, accuracy, counts, float(gaps @ counts / max(len(labels), 1)))


def cross_entropy(probabilities: Probabilities, labels: Classes) -> float:
  """Mean cross-entropy of probabilities with the true classes, without smoothing."""
  chosen = np.take_along_axis(probabilities, labels[:, None], axis=1)[:, 0]
  return float(-np.mean(np.log(np.maximum(chosen, np.finfo(np.float32).tiny))))


def mistakes(probabilities: Probabilities, labels: Classes) -> np.ndarray:
  """Indices int64 of the wrongly predicted examples, the most confident first."""
  predicted = probabilities.argmax(1)
  wrong = np.flatnonzero(predicted != labels)
  return wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind='stable')]


def worst_confusions(matrix: Confusion, count: int) -> list[tuple[int, int, int]]:
  """The most frequent (true class, predicted class, number), the most frequent first."""
  off = matrix * (1 - np.eye(len(matrix), dtype=matrix.dtype))
  order = np.argsort(-off, axis=None, kind='stable')[:count]
  pairs = [(*divmod(int(cell), len(matrix)), int(off.flat[cell])) for cell in order]
  return [pair for pair in pairs if pair[2] > 0]


def mistake_title(epoch: int, predicted: str, actual: str) -> str:
  """'[3] predicted cat actual dog', as in "Starting deep learning hands-on" (Migdał, 2017)."""
  return f'[{epoch}] predicted {predicted} actual {actual}'


def score_lines(probabilities: ClassProbabilities, label: int, class_names: Sequence[str]) -> str:
  """One line per class: its probability in percent, its name, and !!! at the true class; of more
  than 20 classes the ten most probable ones and the true one.
  """
  shown = np.arange(len(probabilities))
  if len(shown) > _MOST_LINES:
    shown = np.union1d(np.argsort(-probabilities, kind='stable')[:10], [label])
  return '\n'.join(
    f'{100 * probabilities[index]:5.1f} {class_names[index]}{" !!!" if index == label else ""}'
    for index in shown.tolist()
  )


def with_article(name: str) -> str:
  """'a cat', 'an Ankle boot', 'an 8', 'an F', 'a unicycle': by sound, as far as letters tell it."""
  word = name.lower()
  if len(name) == 1 and name.isalpha():
    vowel = word in 'aefhilmnorsx'
  elif word.startswith(('uni', 'use', 'usu', 'uk', 'eu', 'one', 'once')):
    vowel = False
  else:
    vowel = word.startswith(('a', 'e', 'i', 'o', 'u', '8', 'hour', 'hono', 'heir', 'honest'))
    vowel = vowel or re.match(r'1[18](\D|$)', word) is not None
  return f'{"an" if vowel else "a"} {name}'


def overfitting(rows: Sequence[dict[str, float]]) -> str:
  """A sentence on whether validation turned while training went on, and in which epoch."""
  rows = [row for row in rows if not np.isnan(row['val_loss'])]
  if len(rows) < 3:
    return 'Too few validated epochs to tell over-fitting.'
  lowest = min(rows, key=lambda row: row['val_loss'])
  highest = max(rows, key=lambda row: row['val_accuracy'])
  last = rows[-1]
  rise = last['val_loss'] - lowest['val_loss']
  best = (
    f'Validation accuracy was highest in epoch {highest["epoch"]:.0f} '
    f'({100 * highest["val_accuracy"]:.2f} %) and ended at {100 * last["val_accuracy"]:.2f} %.'
  )
  if rise <= 0.01 * lowest['val_loss']:
    return f'No over-fitting to be seen: validation loss ended within 1 % of its lowest. {best}'
  turned = (
    f'validation loss turned after epoch {lowest["epoch"]:.0f} ({lowest["val_loss"]:.4f}) and '
    f'ended {rise:.4f} higher'
  )
  if last['train_loss'] < lowest['train_loss']:
    return f'Over-fitting: {turned} while training loss went on falling. {best}'
  return f'Not over-fitting: {turned}, but so did training loss. {best}'
