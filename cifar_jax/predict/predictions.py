"""Predictions of a run's network for images from outside, and the forms they are printed in."""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from cifar_jax.predict.classifier import Classifier, batch_size
from cifar_jax.predict.image_files import InputImage, read_all
from cifar_jax.utils.array_types import ClassProbabilities


def predict(
  network: Classifier, sources: Sequence[str], top: int = 3
) -> Iterator[tuple[InputImage, list[tuple[str, float]]]]:
  """Yields each image with its `top` most probable classes, the most probable first.

  Args:
    sources: Where the images are, see `image_files.read_all`.
    top: The number of classes; more than there are means all.

  Yields:
    (image, [(class name, probability 0..1)]); of an image that cannot be used an empty list.
  """
  waiting: list[InputImage] = []
  most = batch_size(network.image_shape)

  def flush() -> Iterator[tuple[InputImage, list[tuple[str, float]]]]:
    pixels = [image.pixels for image in waiting if image.pixels is not None]
    rows = iter(network.probabilities(np.stack(pixels)) if pixels else ())
    for image in waiting:
      yield image, [] if image.pixels is None else ranked(next(rows), network.class_names, top)
    waiting.clear()

  for image in read_all(sources, network.preprocessing):
    waiting.append(image)
    if len(waiting) == most:
      yield from flush()
  yield from flush()


def ranked(
  probabilities: ClassProbabilities, class_names: Sequence[str], top: int
) -> list[tuple[str, float]]:
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


def as_table(name: str, classes: Sequence[tuple[str, float]], verdict: Verdict | None) -> str:
  """'cat.jpg  cat 93.1 %, dog 4.0 %', and '  WRONG: labeled dog' where it is."""
  wrong = f'  WRONG: labeled {verdict.label}' if verdict and verdict.right is False else ''
  return f'{name}  ' + ', '.join(f'{label} {100 * p:.1f} %' for label, p in classes) + wrong


def as_json(name: str, classes: Sequence[tuple[str, float]], verdict: Verdict | None) -> str:
  """One JSON object in one line, with 'label' and 'right' where labels are asked for."""
  found: dict[str, Any] = {'image': name, 'class': classes[0][0], 'probability': classes[0][1]}
  found |= verdict._asdict() if verdict else {}
  return json.dumps({**found, 'top': [{'class': label, 'probability': p} for label, p in classes]})


def as_csv(name: str, classes: Sequence[tuple[str, float]], verdict: Verdict | None) -> str:
  """'name,class,probability,class,probability ...', one line; with labels these and 1 for right or
  0 for wrong come last.
  """
  buffer = io.StringIO()
  cells = [cell for label, p in classes for cell in (label, f'{p:.6f}')]
  if verdict:
    cells += [verdict.label or '', '' if verdict.right is None else str(int(verdict.right))]
  csv.writer(buffer, lineterminator='').writerow([name, *cells])
  return buffer.getvalue()


def csv_header(top: int, with_labels: bool) -> str:
  """The first line above those of `as_csv`."""
  columns = [f'{kind}_{rank}' for rank in range(1, top + 1) for kind in ('class', 'probability')]
  return ','.join(['image', *columns, *(['label', 'right'] if with_labels else [])])
