"""Scaling and random augmentation of batches on the device; pure, jittable, random per image."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

# (key of the step, images float32 [B, H, W, C], indices int32 [B], epoch int32 []) -> images.
# `indices` are the examples' places in the training set, so that an augmentation may treat an
# example otherwise in each epoch; `epoch` counts from 0.
Augmentation = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]

FLIPS = ('none', 'random', 'alternating')


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
  return _mirror(images, jax.random.bernoulli(key, shape=(len(images),)))


def alternating_flip(
  example_key: jax.Array, images: jax.Array, indices: jax.Array, epoch: jax.Array
) -> jax.Array:
  """Mirrors each image in every other epoch; a coin of its own decides whether in the even ones.

  Any two successive epochs show each image both ways, where independent coins would repeat one
  view for half of the images (Jordan, 2024).

  Args:
    example_key: the same throughout a run.
    images: [B, H, W, C].
    indices: int32 [B], the examples' places in the training set.
    epoch: int32 [], from 0.
  """
  keys = jax.vmap(lambda index: jax.random.fold_in(example_key, index))(indices)
  coins = jax.vmap(jax.random.bernoulli)(keys)
  return _mirror(images, coins ^ (epoch % 2 == 1))


def random_crop(key: jax.Array, images: jax.Array, padding: int) -> jax.Array:
  """Shifts each image [B, H, W, C] by up to `padding` pixels in y and x; reflects the border."""
  batch, height, width, channels = images.shape
  padded = pad_by_reflection(images, padding)
  corners = jax.random.randint(key, (batch, 2), 0, 2 * padding + 1)

  def crop(image: jax.Array, corner: jax.Array) -> jax.Array:
    return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), (height, width, channels))

  return jax.vmap(crop)(padded, corners)


def pad_by_reflection(images: jax.Array, padding: int) -> jax.Array:
  """Adds `padding` pixels on each side of [B, H, W, C], mirrored at the outermost ones."""
  return jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)), mode='reflect')


def random_cutout(key: jax.Array, images: jax.Array, size: int) -> jax.Array:
  """Sets a box of size x size pixels in each image [B, H, W, C] to 0, the mean once normalised.

  DeVries and Taylor (2017), but the box is never cut by the border. An image smaller than the box
  is covered whole.
  """
  batch, height, width, _ = images.shape
  row_key, column_key = jax.random.split(key)

  def inside(key: jax.Array, length: int) -> jax.Array:
    start = jax.random.randint(key, (batch, 1), 0, max(length - size, 0) + 1)
    places = jnp.arange(length)[None]
    return (places >= start) & (places < start + size)

  rows, columns = inside(row_key, height), inside(column_key, width)
  return jnp.where(rows[:, :, None, None] & columns[:, None, :, None], 0, images)


def make_augment(augment_config: ConfigDict, example_key: jax.Array) -> Augmentation:
  """The chain that `config.augment` asks for.

  Args:
    augment_config: `flip`, `crop_padding` and `cutout`.
    example_key: of what belongs to an example throughout the run.

  Returns:
    (key, images float32 [B, H, W, C], indices, epoch) -> images of the same shape.
  """
  chain: list[Augmentation] = []
  if augment_config.flip == 'random':
    chain.append(lambda key, images, indices, epoch: random_flip(key, images))
  if augment_config.flip == 'alternating':
    chain.append(
      lambda key, images, indices, epoch: alternating_flip(example_key, images, indices, epoch)
    )
  if augment_config.crop_padding:
    padding = augment_config.crop_padding
    chain.append(lambda key, images, indices, epoch: random_crop(key, images, padding))
  if augment_config.cutout:
    size = augment_config.cutout
    chain.append(lambda key, images, indices, epoch: random_cutout(key, images, size))

  def augment(key: jax.Array, images: jax.Array, indices: jax.Array, epoch: jax.Array) -> jax.Array:
    for place, function in enumerate(chain):
      images = function(jax.random.fold_in(key, place), images, indices, epoch)
    return images

  return augment


def _mirror(images: jax.Array, mirrored: jax.Array) -> jax.Array:
  return jnp.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
