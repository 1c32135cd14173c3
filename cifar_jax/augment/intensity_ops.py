"""Operations on the 256 levels of each channel, as PIL's ImageOps has them, for images in 0..1."""

import jax
import jax.numpy as jnp


def levels(images: jax.Array) -> jax.Array:
  """float32 in 0..1 to int32 in 0..255, rounded."""
  return jnp.round(images * 255).astype(jnp.int32)


def posterize(images: jax.Array, dropped_bits: jax.Array) -> jax.Array:
  """Clears the lowest bits of each level of [B, H, W, C], as many as int32 [B] says."""
  step = jnp.left_shift(1, dropped_bits)[:, None, None, None]
  return levels(images) // step * step / jnp.float32(255)


def solarize(images: jax.Array, threshold: jax.Array) -> jax.Array:
  """Inverts the pixels of [B, H, W, C] at or above each image's threshold, float32 [B] in 0..1."""
  bright = levels(images) >= 255 * threshold[:, None, None, None]
  return jnp.where(bright, 1 - images, images)


def autocontrast(images: jax.Array) -> jax.Array:
  """Stretches each channel of each image [B, H, W, C] to 0..1; a constant one stays."""
  low = images.min(axis=(1, 2), keepdims=True)
  spread = images.max(axis=(1, 2), keepdims=True) - low
  return jnp.where(spread > 0, (images - low) / jnp.where(spread > 0, spread, 1), images)


def equalize(images: jax.Array) -> jax.Array:
  """Makes the levels of each channel of each image [B, H, W, C] about equally frequent."""
  pixels = levels(images).transpose(0, 3, 1, 2).reshape(-1, images.shape[1] * images.shape[2])
  # Row by row: how many pixels have each level.
  rows = jnp.arange(len(pixels))[:, None]
  counts = jnp.zeros((len(pixels), 256), jnp.int32).at[rows, pixels].add(1)
  below = jnp.cumsum(counts, axis=1) - counts
  highest = jnp.take_along_axis(counts, pixels.max(axis=1, keepdims=True), axis=1)
  step = (pixels.shape[1] - highest) // 255
  table = jnp.clip((step // 2 + below) // jnp.maximum(step, 1), 0, 255)
  result = jnp.where(step > 0, jnp.take_along_axis(table, pixels, axis=1), pixels)
  batch, height, width, channels = images.shape
  result = result.reshape(batch, channels, height, width).transpose(0, 2, 3, 1)
  return result / jnp.float32(255)
