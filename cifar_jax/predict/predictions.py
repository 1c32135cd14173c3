"""Predictions of a run's network for images from outside, and the forms they are printed in."""

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from cifar_jax.predict.classifier import Classifier, batch_size
from cifar_jax.predict.image_files import InputImage, read_all
from cifar_jax.utils.array_types import ClassProbabilities

Classes = Sequence[tuple[str, float]]  # names with probabilities, the most probable first


def predict(
  network: Classifier, sources: Sequence[str], top: int = 3
) -> Iterator[tuple[InputImage, Classes]]:
  """Yields each image with its `top` most probable classes, the most probable first; where images
  may have several labels, with all whose probabilities reach their thresholds.

  Args:
    sources: Where the images are, see `image_files.read_all`.
    top: The number of classes; more than there are means all.

  Yields:
    (image, [(class name, probability 0..1)]); of an image that cannot be used, which has no
    `pixels`, an empty list.
  """
  waiting: list[InputImage] = []
  most = batch_size(network.image_shape)

  def flush() -> Iterator[tuple[InputImage, Classes]]:
    pixels = [image.pixels for image in waiting if image.pixels is not None]
    rows = iter(network.probabilities(np.stack(pixels)) if pixels else ())
    for image in waiting:
      yield image, [] if image.pixels is None else predicted(network, next(rows), top)
    waiting.clear()

  for image in read_all(sources, network.preprocessing):
    waiting.append(image)
    if len(waiting) == most:
      yield from flush()
  yield from flush()


def predicted(network: Classifier, probabilities: ClassProbabilities, top: int) -> Classes:
  """What is said of an image with these probabilities: its `top` most probable classes, or, where
  an image may have several labels, all that reach their thresholds.
  """
  if not network.thresholds:
    return ranked(probabilities, network.class_names, top)
  order = np.argsort(-probabilities, kind='stable').tolist()
  return [
    (network.class_names[index], float(probabilities[index]))
    for index in order
    if probabilities[index] >= network.thresholds[index]
  ]


def ranked(probabilities: ClassProbabilities, class_names: Sequence[str], top: int) -> Classes:
  """The `top` most probable classes, the most probable first."""
  order = np.argsort(-probabilities, kind='stable')[:top]
  return [(class_names[index], float(probabilities[index])) for index in order]


class Verdict(NamedTuple):
  """What an image shows, and whether the network sees it.

  Attributes:
    label: The class; None where the image has no label that the network knows.
    right: Whether it is the most probable one; None without a label.
  """

  label: str | None
  right: bool | None


@dataclasses.dataclass(frozen=True)
class Form:
  """How predictions are printed.

  Attributes:
    line: (name of the image, its classes, the verdict on them or None) -> a line.
    header: The line above those of all images; '' for none.
  """

  line: Callable[[str, Classes, Verdict | None], str]
  header: str = ''


def form(name: str, network: Classifier, top: int, with_labels: bool = False) -> Form:
  """The form 'table', 'json' or 'csv' of what `predict` yields; `with_labels` says whether verdicts
  come with it, which there are only where an image has one label.
  """
  if network.thresholds:
    forms = {
      'table': Form(_table),
      'json': Form(_json_of_labels),
      'csv': Form(_csv_of_labels, 'image,labels,probabilities'),
    }
  else:
    forms = {
      'table': Form(_table),
      'json': Form(_json),
      'csv': Form(_csv, _csv_header(top, with_labels)),
    }
  return forms[name]


def _table(name: str, classes: Classes, verdict: Verdict | None) -> str:
  """'cat.jpg  cat 93.1 %, dog 4.0 %', and '  WRONG: labeled dog' where it is."""
  found = ', '.join(f'{label} {100 * p:.1f} %' for label, p in classes)
  wrong = f'  WRONG: labeled {verdict.label}' if verdict and verdict.right is False else ''
  return f'{name}  {found or "no label"}{wrong}'


def _json(name: str, classes: Classes, verdict: Verdict | None) -> str:
  """One JSON object in one line, with 'label' and 'right' where there is a verdict."""
  found: dict[str, Any] = {'image': name, 'class': classes[0][0], 'probability': classes[0][1]}
  found |= verdict._asdict() if verdict else {}
  return json.dumps({**found, 'top': _objects(classes)})


def _json_of_labels(name: str, classes: Classes, _: Verdict | None) -> str:
  return json.dumps({'image': name, 'labels': _objects(classes)})


def _objects(classes: Classes) -> list[dict[str, Any]]:
  return [{'class': label, 'probability': p} for label, p in classes]


def _csv(name: str, classes: Classes, verdict: Verdict | None) -> str:
  """'name,class,probability,class,probability ...', one line; of a verdict the label, and 1 for
  right or 0 for wrong, come last.
  """
  cells = [cell for label, p in classes for cell in (label, f'{p:.6f}')]
  if verdict:
    cells += [verdict.label or '', '' if verdict.right is None else str(int(verdict.right))]
  return _cells(name, *cells)


def _csv_of_labels(name: str, classes: Classes, _: Verdict | None) -> str:
  """'name,class;class,probability;probability', one line: labels as `--config.data.name=csv` reads
  them.
  """
  labels = ';'.join(label for label, _ in classes)
  return _cells(name, labels, ';'.join(f'{p:.6f}' for _, p in classes))


def _cells(*cells: str) -> str:
  buffer = io.StringIO()
  csv.writer(buffer, lineterminator='').writerow(cells)
  return buffer.getvalue()


def _csv_header(top: int, with_labels: bool) -> str:
  columns = [f'{kind}_{rank}' for rank in range(1, top + 1) for kind in ('class', 'probability')]
  return ','.join(['image', *columns, *(['label', 'right'] if with_labels else [])])
