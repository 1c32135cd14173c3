"""Windows of an image with a border around it."""

import jax
import jax.numpy as jnp

BORDERS = ('reflect', 'zero')


def random_crop(
  key: jax.Array, images: jax.Array, padding: int, border: str = 'reflect'
) -> jax.Array:
  """Shifts each image [B, H, W, C] by up to `padding` pixels in y and x.

  Args:
    key: of this step and this augmentation.
    images: of any floating type.
    padding: pixels on each side.
    border: what comes in from outside: 'reflect', the image mirrored at its outermost pixels, or
      'zero'.
  """
  batch, height, width, channels = images.shape
  padded = pad_by_reflection(images, padding) if border == 'reflect' else _pad(images, padding)
  corners = jax.random.randint(key, (batch, 2), 0, 2 * padding + 1)

  def crop(image: jax.Array, corner: jax.Array) -> jax.Array:
    return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), (height, width, channels))

  return jax.vmap(crop)(padded, corners)


def pad_by_reflection(images: jax.Array, padding: int) -> jax.Array:
  """Adds `padding` pixels on each side of [B, H, W, C], mirrored at the outermost ones."""
  return _pad(images, padding, mode='reflect')


def _pad(images: jax.Array, padding: int, mode: str = 'constant') -> jax.Array:
  return jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)), mode=mode)
