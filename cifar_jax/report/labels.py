"""What a report says of images with several labels: a table and a curve a label, and mistakes."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from cifar_jax.data import Examples, label_text
from cifar_jax.figures import charts, files, image_utils
from cifar_jax.predict.classifier import Classifier
from cifar_jax.report.findings import Findings
from cifar_jax.training import multi_label
from cifar_jax.training.multi_label import Counts, Curve


def of_labels(
  network: Classifier,
  split: Examples,
  logits: np.ndarray,
  what: str,
  mistakes: int,
  folder: pathlib.Path,
) -> Findings:
  """What the page shows of a split whose images may have several labels.

  Args:
    logits: float32 [N, classes].
    what: What the split is called.
    mistakes: How many images with a wrong label are shown; -1 for all.
    folder: Where images go.
  """
  names, labels, thresholds = network.class_names, split.labels, network.thresholds
  measured = multi_label.measure(logits, labels, thresholds)
  probabilities = multi_label.scores_of(logits)
  counts = multi_label.decisions(labels, probabilities, thresholds)
  curves = [multi_label.curve(*each) for each in zip(labels.T, probabilities.T, strict=True)]
  table = _table(names, thresholds, counts, curves)
  ranked = [row for row in table if row['average_precision'] is not None]
  wrong = _most_wrong(labels, probabilities, thresholds)
  return Findings(
    tiles=[
      (f'{100 * measured["map"]:.2f} %', f'{what} mean average precision'),
      (f'{100 * measured["macro_f1"]:.2f} %', 'macro F1'),
      (f'{100 * measured["micro_f1"]:.2f} %', 'micro F1'),
      (f'{100 * measured["accuracy"]:.2f} %', 'of all labels right at 1/2'),
      (f'{measured["loss"]:.4f}', f'{what} loss (binary cross-entropy)'),
      (f'{len(wrong):,}', f'images with a wrong label of {len(labels):,}'),
    ],
    sections={
      'labels': table,
      'label_curves': files.save_figure(
        charts.precision_recall(curves, names, counts), folder, 'precision_recall'
      ),
      'label_chart': files.save_figure(
        charts.class_bars(
          [row['average_precision'] for row in ranked],
          [row['name'] for row in ranked],
          'Average precision by label (%)',
        ),
        folder,
        'classes',
      ),
      'mistakes': _gallery(network, split, probabilities, wrong, mistakes, folder),
    },
    measured=measured,
    details={'labels': {row['name']: {k: row[k] for k in row if k != 'name'} for row in table}},
    files={},
  )


def _table(
  names: Sequence[str], thresholds: Sequence[float], counts: Counts, curves: Sequence[Curve]
) -> list[dict[str, Any]]:
  """A row for each label; None where a number has no meaning, as of a label without an image."""

  def number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)

  return [
    {
      'name': name,
      'average_precision': number(curves[place].average_precision),
      'threshold': float(thresholds[place]),
      'precision': float(counts.precision[place]),
      'recall': float(counts.recall[place]),
      'f1-score': number(counts.f1[place]),
      'support': int(counts.labeled[place]),
      'predicted': int(counts.predicted[place]),
    }
    for place, name in enumerate(names)
  ]


def _most_wrong(
  labels: np.ndarray, probabilities: np.ndarray, thresholds: Sequence[float]
) -> np.ndarray:
  """Indices int64 of the images with a wrong decision, those furthest from the truth first."""
  differs = (probabilities >= np.asarray(thresholds)) != (labels > 0)
  distance = np.where(differs, np.abs(probabilities - labels), 0).max(axis=1)
  wrong = np.flatnonzero(differs.any(axis=1))
  return wrong[np.argsort(-distance[wrong], kind='stable')]


def _gallery(
  network: Classifier,
  split: Examples,
  probabilities: np.ndarray,
  wrong: np.ndarray,
  count: int,
  folder: pathlib.Path,
) -> list[dict[str, str]]:
  """Those images with the probabilities of their labels; mistakes.png shows the images."""
  indices = wrong if count < 0 else wrong[:count]
  if not len(indices):
    return []
  images, names = split.images[indices], network.class_names
  image_utils.save(image_utils.sheet(list(images), 8), folder / 'mistakes.png')
  found = []
  for index, image in zip(indices.tolist(), images, strict=True):
    chosen = probabilities[index] >= np.asarray(network.thresholds)
    predicted = label_text(chosen.astype(np.uint8), names)
    truth = split.labels[index] > 0
    shown = np.flatnonzero(chosen | truth).tolist()
    lines = [
      f'{100 * probabilities[index][place]:5.1f} {names[place]}{" !!!" if truth[place] else ""}'
      for place in sorted(shown, key=lambda place: -probabilities[index][place])
    ]
    found.append(
      {
        'image': image_utils.data_uri(image),
        'title': f'predicted {predicted} actual {label_text(split.labels[index], names)}',
        'scores': '\n'.join(lines),
      }
    )
  return found
