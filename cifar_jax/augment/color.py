"""Brightness, contrast, saturation and hue of images in 0..1; three channels are RGB."""

import jax
import jax.numpy as jnp

_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601, as in PIL and torchvision


def gray(images: jax.Array) -> jax.Array:
  """Luma of [B, H, W, C], as [B, H, W, 1]: of RGB by ITU-R 601, else the mean of the channels."""
  if images.shape[-1] != 3:
    return images.mean(axis=-1, keepdims=True)
  red, green, blue = (images[..., k, None] for k in range(3))
  return _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue


def mean_gray(images: jax.Array) -> jax.Array:
  """The mean luma of each image [B, H, W, C], as [B, 1, 1, 1]."""
  return gray(images.mean(axis=(1, 2), keepdims=True))


def blend(dull: jax.Array, images: jax.Array, factor: jax.Array) -> jax.Array:
  """dull + factor (images - dull) in 0..1: 0 gives the dull image, 1 the old one, 2 overdoes it.

  Args:
    dull: float32, of the images' shape or one that broadcasts to it.
    images: float32 [B, H, W, C] in 0..1.
    factor: float32 [B].
  """
  return jnp.clip(dull + factor[:, None, None, None] * (images - dull), 0, 1)


def brightness(images: jax.Array, factor: jax.Array) -> jax.Array:
  """Multiplies each image [B, H, W, C] by its factor [B]."""
  return blend(jnp.zeros((1, 1, 1, 1)), images, factor)


def contrast(images: jax.Array, factor: jax.Array) -> jax.Array:
  """Moves each image [B, H, W, C] away from its mean grey, or towards it, by its factor [B]."""
  return blend(mean_gray(images), images, factor)


def saturation(images: jax.Array, factor: jax.Array) -> jax.Array:
  """Moves each pixel of [B, H, W, C] away from its grey, or towards it, by its image's factor."""
  return blend(gray(images), images, factor)


def hue(images: jax.Array, turn: jax.Array) -> jax.Array:
  """Turns the hue of each RGB image [B, H, W, 3] by its part [B] of a full circle; HSV model."""
  red, green, blue = images[..., 0], images[..., 1], images[..., 2]
  value = images.max(axis=-1)
  chroma = value - images.min(axis=-1)
  divisor = jnp.where(chroma > 0, chroma, 1)
  sixth = jnp.where(
    value == red,
    (green - blue) / divisor,
    jnp.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
  )
  turned = sixth + 6 * turn[:, None, None]

  def channel(offset: int) -> jax.Array:
    place = turned + offset
    place -= 6 * jnp.floor(place / 6)  # several times quicker on CPU than %
    return value - chroma * jnp.clip(jnp.minimum(place, 4 - place), 0, 1)

  return jnp.stack([channel(5), channel(3), channel(1)], axis=-1)


def random_color(
  key: jax.Array,
  images: jax.Array,
  brightness_range: float = 0.0,
  contrast_range: float = 0.0,
  saturation_range: float = 0.0,
  hue_range: float = 0.0,
) -> jax.Array:
  """Changes brightness, contrast, saturation and hue of each image, in this order.

  Args:
    key: of this step and this augmentation.
    images: float32 [B, H, W, C] in 0..1; saturation and hue act where C is 3.
    brightness_range: the factor lies between 1 - brightness_range (or 0) and 1 + brightness_range.
    contrast_range: the same of contrast.
    saturation_range: the same of saturation.
    hue_range: turns to either side, of a full circle.

  Returns:
    float32 [B, H, W, C] in 0..1.
  """
  draws = jax.random.uniform(key, (4, len(images)), minval=-1, maxval=1)

  def factor(place: int, reach: float) -> jax.Array:
    return jnp.maximum(1 + reach * draws[place], 0)

  if brightness_range:
    images = brightness(images, factor(0, brightness_range))
  if contrast_range:
    images = contrast(images, factor(1, contrast_range))
  if saturation_range and images.shape[-1] == 3:
    images = saturation(images, factor(2, saturation_range))
  if hue_range and images.shape[-1] == 3:
    images = hue(images, hue_range * draws[3])
  return images
