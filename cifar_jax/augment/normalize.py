"""Scaling of pixels: by given numbers, or by what the training images are like."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from cifar_jax.utils.array_types import Images, Pixels
from cifar_jax.utils.errors import UserError

Normalize = Callable[[Pixels | Images], Images]  # float32 is taken to be in 0..1 already

_LARGEST_ZCA = 4096  # numbers in an image; the square of it are in the matrix
_CHUNK = 2048  # images that statistics turn into floats at a time


def scale(images: Pixels | Images) -> Images:
  """uint8 to float32 in 0..1; float32 is taken to be there already."""
  return images.astype(jnp.float32) / 255 if images.dtype == jnp.uint8 else images


@dataclasses.dataclass(frozen=True, eq=False)
class Statistics:
  """A normalization by numbers that came from training images, to be kept with the run.

  Attributes:
    mean: The means, float32 [C], or [H W C] with a matrix.
    std: The standard deviations, float32 of the same shape.
    whitening: The matrix of ZCA, float32 [H W C, H W C], or None.
  """

  mean: np.ndarray
  std: np.ndarray
  whitening: np.ndarray | None = None

  def __call__(self, images: Pixels | Images) -> Images:
    """Normalizes images; float32 are taken to be in 0..1 already."""
    if self.whitening is None:
      return make_normalize(self.mean.tolist(), self.std.tolist())(images)
    flat = scale(images).reshape(images.shape[0], math.prod(images.shape[1:]))
    whitened = (flat - jnp.asarray(self.mean)[None]) @ jnp.asarray(self.whitening)
    return whitened.reshape(images.shape)


def make_normalize(mean: Sequence[float], std: Sequence[float]) -> Normalize:
  """Scales to 0..1, then (x - mean) / std; one number each, or one per channel."""
  plain = not any(mean) and all(value == 1 for value in std)

  def per_channel(values: Sequence[float]) -> jax.Array:
    return jnp.asarray(values, jnp.float32).reshape(1, 1, 1, -1)

  def normalize(images: Pixels | Images) -> Images:
    images = scale(images)
    return images if plain else (images - per_channel(mean)) / per_channel(std)

  return normalize


def fit_normalize(data_config: ConfigDict, images: Any) -> Normalize | Statistics:
  """Returns the normalization that `config.data.normalize` asks for.

  Args:
    data_config: The section `data` of a config. Its `normalize` 'given' takes `mean` and `std` from
      the config, 'channel' those of each channel of the training images, and 'zca' whitens with
      `zca_images` and `zca_epsilon`.
    images: The training images, uint8 [N, H, W, C], or a stream of them, see `data.Examples`.

  Raises:
    UserError: the given numbers do not fit the channels, or images are too large to be whitened.
  """
  if data_config.normalize == 'channel':
    return channel_statistics(images)
  if data_config.normalize == 'zca':
    return zca(images[: data_config.zca_images], data_config.zca_epsilon)
  for option in ('mean', 'std'):
    if len(data_config[option]) not in (1, images.shape[3]):
      raise UserError(
        f'--config.data.{option} has {len(data_config[option])} numbers for images of '
        f'{images.shape[3]} channels; give one number, or one a channel'
      )
  return make_normalize(data_config.mean, data_config.std)


def channel_moments(images: Any) -> tuple[np.ndarray, np.ndarray]:
  """Mean and standard deviation of each channel, float64 [C] each, on the scale 0..1, exactly.

  Args:
    images: The images, uint8 [N, H, W, C], which may be a stream, see `data.Examples`.
  """
  levels = np.arange(256) / 255
  counts = np.zeros((images.shape[3], 256), np.int64)
  for start in range(0, len(images), _CHUNK):
    chunk = images[start : start + _CHUNK]  # a stream decodes here, so once for all channels
    for channel in range(images.shape[3]):
      counts[channel] += np.bincount(chunk[..., channel].ravel(), minlength=256)
  means = [np.average(levels, weights=weights) for weights in counts]
  stds = [
    np.sqrt(np.average((levels - mean) ** 2, weights=weights))
    for mean, weights in zip(means, counts, strict=True)
  ]
  return np.array(means), np.array(stds)


def channel_statistics(images: Any) -> Statistics:
  """The `channel_moments` to normalize by; a channel of one single value is divided by 1."""
  mean, std = channel_moments(images)
  return Statistics(mean.astype(np.float32), np.where(std == 0, 1, std).astype(np.float32))


def zca(images: np.ndarray, epsilon: float) -> Statistics:
  """The ZCA whitening of images: x -> (x - mean) W, uncorrelated and as near to x as can be.

  W = U diag(1 / sqrt(variance + epsilon)) U', U the principal axes of the images / 255, as in
  Keras's `zca_whitening` with `featurewise_center`, but about the mean image.

  Args:
    images: The training images, uint8 [N, H, W, C].
    epsilon: What is added to the variances, above 0.

  Raises:
    UserError: the images are too large.
  """
  size = int(np.prod(images.shape[1:]))
  if size > _LARGEST_ZCA:
    raise UserError(
      f"--config.data.normalize='zca' is for images of up to {_LARGEST_ZCA} numbers, and these "
      f"have {size}; use 'channel'"
    )
  flat = images.reshape(len(images), size)
  mean = flat.mean(axis=0, dtype=np.float64) / 255
  covariance = np.zeros((size, size))
  for start in range(0, len(flat), _CHUNK):
    centered = (flat[start : start + _CHUNK] / 255 - mean).astype(np.float32)
    covariance += centered.T @ centered
  variances, axes = np.linalg.eigh((covariance / len(flat)).astype(np.float32))
  # Rounding makes the smallest variances a little negative.
  whitening = (axes / np.sqrt(np.maximum(variances, 0) + epsilon)) @ axes.T
  return Statistics(
    mean.astype(np.float32), np.ones(size, np.float32), whitening.astype(np.float32)
  )
