"""Test-time augmentation: the logits of an image as a weighted mean over views of it."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from cifar_jax.augment import pad_by_reflection

View = tuple[float, Callable[[jax.Array], jax.Array]]  # weight, images [B, H, W, C] -> the same


def _whole(images: jax.Array) -> jax.Array:
  return images


def _mirrored(images: jax.Array) -> jax.Array:
  return images[:, :, ::-1]


def _window(top: int, left: int) -> Callable[[jax.Array], jax.Array]:
  def window(images: jax.Array) -> jax.Array:
    height, width = images.shape[1:3]
    return pad_by_reflection(images, 1)[:, top : top + height, left : left + width]

  return window


def _mirrored_window(top: int, left: int) -> Callable[[jax.Array], jax.Array]:
  window = _window(top, left)
  return lambda images: _mirrored(window(images))


# The weights of each choice add up to 1. 'flip_translate' is level 2 of airbench94 (Jordan, 2024):
# half from the image and its mirror image, half from both shifted by a pixel towards two corners.
TTA_TRANSFORMS: dict[str, tuple[View, ...]] = {
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


def mean_logits(
  predict: Callable[[jax.Array], jax.Array], images: jax.Array, name: str
) -> jax.Array:
  """The weighted mean of the logits of all views.

  Args:
    predict: images float32 [B, H, W, C] -> logits float32 [B, K].
    images: normalised.
    name: a key of VIEWS.

  Returns:
    float32 [B, K].
  """
  logits = [weight * predict(view(images)) for weight, view in TTA_TRANSFORMS[name]]
  return functools.reduce(jnp.add, logits)
