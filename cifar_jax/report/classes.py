"""What a report says of images with one label each: the confusion matrix, classes, mistakes and
calibration.
"""

import dataclasses
import functools
import pathlib
from typing import Any

import numpy as np

from cifar_jax.analysis import scores
from cifar_jax.analysis.scores import with_article
from cifar_jax.data import Examples
from cifar_jax.figures import charts, files, image_utils
from cifar_jax.predict.classifier import Classifier
from cifar_jax.report.findings import Findings

_CONFUSIONS, _EXAMPLES = 6, 8


@dataclasses.dataclass(frozen=True)
class _Judged:
  """A split and what the network makes of it; see `of_classes`."""

  network: Classifier
  split: Examples
  probabilities: np.ndarray
  epoch: int

  @functools.cached_property
  def predicted(self) -> np.ndarray:
    return self.probabilities.argmax(1)

  @functools.cached_property
  def matrix(self) -> np.ndarray:
    names = self.network.class_names
    return scores.confusion(self.split.labels, self.predicted, len(names))

  @functools.cached_property
  def by_class(self) -> dict[str, dict[str, float]]:
    return scores.class_report(self.matrix, self.network.class_names)

  @functools.cached_property
  def calibration(self) -> scores.Calibration:
    return scores.calibration(self.probabilities, self.split.labels)

  @functools.cached_property
  def wrong(self) -> np.ndarray:
    return scores.mistakes(self.probabilities, self.split.labels)

  @functools.cached_property
  def interval(self) -> tuple[float, float]:
    return scores.accuracy_interval(int(np.trace(self.matrix)), int(self.matrix.sum()))

  @property
  def accuracy(self) -> float:
    return float(np.trace(self.matrix) / self.matrix.sum())

  @property
  def loss(self) -> float:
    return scores.cross_entropy(self.probabilities, self.split.labels)


def of_classes(
  network: Classifier,
  split: Examples,
  probabilities: np.ndarray,
  what: str,
  mistakes: int,
  folder: pathlib.Path,
  epoch: int,
) -> Findings:
  """What the page shows of a split whose images have one label each.

  Args:
    probabilities: float32 [N, classes].
    what: What the split is called.
    mistakes: How many misclassified images are shown; -1 for all.
    folder: Where images go.
    epoch: Of the checkpoint.
  """
  judged = _Judged(network, split, probabilities, epoch)
  sections = {
    'labels': (),
    **_classes(judged, folder),
    'confusions': _confusions(judged),
    'mistakes': _gallery(judged, mistakes, folder),
    'reliability': files.save_figure(charts.reliability(judged.calibration), folder, 'reliability'),
    'confidence_remark': _confidence(judged.calibration, judged.accuracy),
  }
  low, high = judged.interval
  return Findings(
    tiles=[
      (f'{100 * judged.accuracy:.2f} %', f'{what} accuracy'),
      (f'{100 * low:.2f} to {100 * high:.2f} %', 'its 95 % interval, with so many images'),
      (f'{judged.loss:.4f}', f'{what} loss (cross-entropy)'),
      (f'{100 * judged.calibration.error:.2f} %', 'expected calibration error'),
      (f'{len(judged.wrong):,}', f'mistakes of {len(judged.split):,}'),
    ],
    sections=sections,
    measured={
      'loss': judged.loss,
      'accuracy': judged.accuracy,
      'calibration_error': judged.calibration.error,
    },
    details={
      'accuracy_interval': judged.interval,
      'classes': judged.by_class,
      'confusion': judged.matrix.tolist(),
    },
    files={'confusion.txt': f'{sections["matrix"]}\n'},
  )


def _classes(judged: _Judged, folder: pathlib.Path) -> dict[str, Any]:
  """The confusion matrix and the numbers of each class."""
  names = judged.network.class_names
  present = [name for name in names if name in judged.by_class]
  recalls = [judged.by_class[name]['recall'] for name in present]
  return {
    'heat_map': files.save_figure(charts.heat_map(judged.matrix, names), folder, 'confusion'),
    'matrix': scores.matrix_text(judged.matrix, names),
    'class_chart': files.save_figure(
      charts.class_bars(recalls, present, 'Accuracy by class (%)'), folder, 'classes'
    ),
    'class_report': judged.by_class,
    'absent': len(names) - len(present),
  }


def _confusions(judged: _Judged) -> list[dict[str, Any]]:
  """The most frequent ones with examples, the most confident first."""
  names, wrong = judged.network.class_names, judged.wrong
  found = []
  for true, predicted, count in scores.worst_confusions(judged.matrix, _CONFUSIONS):
    alike = (judged.split.labels[wrong] == true) & (judged.predicted[wrong] == predicted)
    images = judged.split.images[wrong[alike][:_EXAMPLES]]
    found.append(
      {
        'true': names[true],
        'predicted': names[predicted],
        'count': count,
        'images': [image_utils.data_uri(image) for image in images],
        'alt': f'{with_article(names[true])} taken for {with_article(names[predicted])}',
      }
    )
  return found


def _gallery(judged: _Judged, count: int, folder: pathlib.Path) -> list[dict[str, str]]:
  """The misclassified images with their scores; mistakes.png shows the images."""
  names = judged.network.class_names
  indices = judged.wrong if count < 0 else judged.wrong[:count]
  if not len(indices):
    return []
  images = judged.split.images[indices]
  image_utils.save(image_utils.sheet(list(images), 8), folder / 'mistakes.png')
  labels = judged.split.labels[indices].tolist()
  return [
    {
      'image': image_utils.data_uri(image),
      'title': scores.mistake_title(judged.epoch, names[judged.predicted[index]], names[label]),
      'scores': scores.score_lines(judged.probabilities[index], label, names),
    }
    for index, image, label in zip(indices, images, labels, strict=True)
  ]


def _confidence(found: scores.Calibration, accuracy: float) -> str:
  weights = found.counts / max(found.counts.sum(), 1)
  mean = float(np.nansum(found.confidence * weights))
  word = 'over' if mean > accuracy else 'under'
  return (
    f'the mean confidence is {100 * mean:.2f} %, the accuracy {100 * accuracy:.2f} %, so the '
    f'network is {word}confident by {100 * abs(mean - accuracy):.2f} points on average.'
  )
