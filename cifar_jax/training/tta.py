"""Test-time augmentation: the logits of an image as a weighted mean over transforms of it,
for all images of a set or for those alone of which the network is least sure.
"""

import functools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from cifar_jax.augment import pad_by_reflection
from cifar_jax.utils.array_types import Images, Logits, PerRow

Transform = tuple[float, Callable[[Images], Images]]  # with its weight


def _whole(images: Images) -> Images:
  return images


def _mirrored(images: Images) -> Images:
  return images[:, :, ::-1]


def _window(top: int, left: int) -> Callable[[Images], Images]:
  def window(images: Images) -> Images:
    height, width = images.shape[1:3]
    return pad_by_reflection(images, 1)[:, top : top + height, left : left + width]

  return window


def _mirrored_window(top: int, left: int) -> Callable[[Images], Images]:
  window = _window(top, left)
  return lambda images: _mirrored(window(images))


# The weights of each choice add up to 1. 'flip_translate' is level 2 of airbench94 (Jordan, 2024):
# half from the image and its mirror image, half from both shifted by a pixel towards two corners.
TTA_TRANSFORMS: dict[str, tuple[Transform, ...]] = {
  'none': ((1.0, _whole),),
  'flip': ((0.5, _whole), (0.5, _mirrored)),
  'flip_translate': (
    (0.25, _whole),
    (0.25, _mirrored),
    (0.125, _window(0, 0)),
    (0.125, _mirrored_window(0, 0)),
    (0.125, _window(2, 2)),
    (0.125, _mirrored_window(2, 2)),
  ),
}


def mean_logits(predict: Callable[[Images], Logits], images: Images, name: str) -> Logits:
  """The weighted mean of the logits of all transforms.

  Args:
    name: A key of `TTA_TRANSFORMS`.
  """
  # No `lax.map`, though it would compile the network once: in loops XLA's CPU backend has no fast
  # convolutions of its own.
  logits = [weight * predict(transform(images)) for weight, transform in TTA_TRANSFORMS[name]]
  return functools.reduce(jnp.add, logits)


def is_selective(name: str, fraction: float) -> bool:
  """Whether a part of a set alone is seen in several views."""
  return name != 'none' and fraction < 1


def chosen_examples(fraction: float, examples: int) -> int:
  """The number of examples that are this fraction of a set, rounded."""
  return round(fraction * examples)


def least_confident(confidences: PerRow, fraction: float) -> np.ndarray:
  """The examples of a set that are to be seen in all views: those with the smallest confidences,
  of equal ones the earlier, as in the CIFAR-10 speedrun of Hive (2025).

  Args:
    confidences: The largest class probability of each example, of the image as it is.
    fraction: Above 0, at most 1.

  Returns:
    Their indices, int32, ascending.
  """
  order = np.argsort(confidences, kind='stable')
  return np.sort(order[: chosen_examples(fraction, len(order))]).astype(np.int32)
