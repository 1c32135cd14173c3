"""Mirror images: by independent coins, or each image in every other epoch."""

import jax
import jax.numpy as jnp

from cifar_jax.utils.array_types import Step


def random_flip(key: jax.Array, images: jax.Array) -> jax.Array:
  """Mirrors each image [B, H, W, C] left to right with probability 1/2."""
  return _mirror(images, jax.random.bernoulli(key, shape=(len(images),)))


def alternating_flip(
  example_key: jax.Array, images: jax.Array, indices: jax.Array, epoch: Step
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


def random_vertical_flip(key: jax.Array, images: jax.Array) -> jax.Array:
  """Turns each image [B, H, W, C] upside down, as a mirror would, with probability 1/2."""
  coins = jax.random.bernoulli(key, shape=(len(images),))
  return jnp.where(coins[:, None, None, None], images[:, ::-1], images)


def _mirror(images: jax.Array, mirrored: jax.Array) -> jax.Array:
  return jnp.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
