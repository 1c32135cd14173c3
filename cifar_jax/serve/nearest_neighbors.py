"""Training images that a network finds most like an image, by its own description of them."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cifar_jax.analysis import attribution
from cifar_jax.data import Examples
from cifar_jax.predict.classifier import Classifier, batch_size, padded_batches


class NearestNeighbors:
  """The features of some training images, to be compared with those of a new one."""

  def __init__(self, network: Classifier, split: Examples, count: int):
    """Runs the network over the first `count` images of `split`, which takes a while."""
    self._network = network
    self._features = jax.jit(functools.partial(_features, network))
    self.images, self.labels = split.images[:count], split.labels[:count]
    self._known = self._describe(self.images)

  def nearest(self, image: np.ndarray, count: int) -> np.ndarray:
    """Places int64 [count] of the images whose features have the smallest angle to those of `image`
    uint8 [H, W, C], the nearest first.
    """
    likeness = self._known @ self._describe(image[None])[0]
    return np.argsort(-likeness, kind='stable')[:count]

  def _describe(self, images: np.ndarray) -> np.ndarray:
    """Features float32 [N, F] of length 1."""
    size = min(batch_size(images.shape[1:]), len(images))
    parts = [
      np.asarray(self._features(batch))[:count] for batch, count in padded_batches(images, size)
    ]
    found = np.concatenate(parts)
    return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def _features(network: Classifier, images: Any) -> jax.Array:
  return attribution.features(
    network.module, network.variables, network.normalize(jnp.asarray(images))
  )
