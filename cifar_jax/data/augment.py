"""Scaling and random augmentation of batches on the device; pure, jittable, random per image."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

Augmentation = Callable[[jax.Array, jax.Array], jax.Array]


def make_normalize(mean: Sequence[float], std: Sequence[float]) -> Callable[[jax.Array], jax.Array]:
  """Returns uint8 [B, H, W, C] -> float32: scaled to 0..1, then (x - mean) / std per channel."""
  plain = not any(mean) and all(value == 1 for value in std)

  def per_channel(values: Sequence[float]) -> jax.Array:
    return jnp.asarray(values, jnp.float32).reshape(1, 1, 1, -1)

  def normalize(images: jax.Array) -> jax.Array:
    images = images.astype(jnp.float32) / 255
    return images if plain else (images - per_channel(mean)) / per_channel(std)

  return normalize


def random_flip(key: jax.Array, images: jax.Array) -> jax.Array:
  """Mirrors each image [B, H, W, C] left to right with probability 1/2."""
  flipped = jax.random.bernoulli(key, shape=(len(images), 1, 1, 1))
  return jnp.where(flipped, images[:, :, ::-1], images)


def random_crop(key: jax.Array, images: jax.Array, padding: int) -> jax.Array:
  """Shifts each image [B, H, W, C] by up to `padding` pixels in y and x; reflects the border."""
  batch, height, width, channels = images.shape
  widths = ((0, 0), (padding, padding), (padding, padding), (0, 0))
  padded = jnp.pad(images, widths, mode='reflect')
  corners = jax.random.randint(key, (batch, 2), 0, 2 * padding + 1)

  def crop(image: jax.Array, corner: jax.Array) -> jax.Array:
    return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), (height, width, channels))

  return jax.vmap(crop)(padded, corners)


def make_augment(augment_config: ConfigDict) -> Augmentation:
  """The chain that `config.augment` asks for: (key, float32 [B, H, W, C]) -> the same shape."""
  chain: list[Augmentation] = []
  if augment_config.flip:
    chain.append(random_flip)
  if augment_config.crop_padding:
    chain.append(lambda key, images: random_crop(key, images, augment_config.crop_padding))

  def augment(key: jax.Array, images: jax.Array) -> jax.Array:
    for index, function in enumerate(chain):
      images = function(jax.random.fold_in(key, index), images)
    return images

  return augment
