"""Writes CIFAR-10.1, CIFAR-10-C and CIFAR-10H in the layout of their authors, at any size; and a
network that sees one pixel.
"""

import json
import pathlib
import types
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from cifar_jax.data.cifar_files import CIFAR10_CLASSES
from cifar_jax.data.preprocessing import Preprocessing
from configs import base


def images_seen_as(classes: Sequence[int], confidence: int = 200) -> np.ndarray:
  """Images uint8 [N, 32, 32, 3] whose first pixel has the class in red, the confidence in green."""
  images = np.random.default_rng(0).integers(0, 256, (len(classes), 32, 32, 3), dtype=np.uint8)
  images[:, 0, 0, 0] = classes
  images[:, 0, 0, 1] = confidence
  return images


def network(run: pathlib.Path, class_names: Sequence[str] = CIFAR10_CLASSES, **about: Any) -> Any:
  """Stands for a `Classifier`: of an image of `images_seen_as` it gives the class the probability
  confidence / 250, and the others the rest in equal parts.
  """
  run.mkdir(exist_ok=True)
  facts = {'class_names': list(class_names), 'image_shape': [32, 32, 3], **about}
  (run / 'about.json').write_text(json.dumps(facts))

  def probabilities(images: Any) -> np.ndarray:
    pixels = np.concatenate([images[start : start + 3] for start in range(0, len(images), 3)])
    classes, certain = pixels[:, 0, 0, 0] % len(class_names), pixels[:, 0, 0, 1] / 250
    found = np.repeat((1 - certain)[:, None], len(class_names), 1) / (len(class_names) - 1)
    found[np.arange(len(found)), classes] = certain
    return found.astype(np.float32)

  return types.SimpleNamespace(
    run=run,
    config=base.get_config(),
    step=77,
    class_names=tuple(class_names),
    preprocessing=Preprocessing(32, 32),
    probabilities_of_set=probabilities,
  )


def write_photographs(
  folder: pathlib.Path, images: np.ndarray, labels: Sequence[int], version: str = 'v6'
) -> pathlib.Path:
  folder.mkdir(parents=True, exist_ok=True)
  np.save(folder / f'cifar10.1_{version}_data.npy', images)
  np.save(folder / f'cifar10.1_{version}_labels.npy', np.array(labels, np.int32))
  return folder


def write_corrupted(
  folder: pathlib.Path, labels: Sequence[int], seen: dict[str, Iterable[Sequence[int]]]
) -> pathlib.Path:
  """Writes, for each corruption, five severities of images that the network sees as these."""
  folder.mkdir(parents=True, exist_ok=True)
  np.save(folder / 'labels.npy', np.tile(np.array(labels, np.uint8), 5))
  for corruption, severities in seen.items():
    np.save(folder / f'{corruption}.npy', np.concatenate([images_seen_as(s) for s in severities]))
  return folder


def write_people(folder: pathlib.Path, shares: Any) -> pathlib.Path:
  folder.mkdir(parents=True, exist_ok=True)
  np.save(folder / 'cifar10h-probs.npy', np.array(shares, np.float64))
  return folder
