"""Brightness, contrast, saturation and hue of images in 0..1, of which three channels are RGB; and
operations on the 256 levels of each channel, as PIL's ImageOps has them.
"""

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
    dull: The other images, float32 of the images' shape or one that broadcasts to it.
    images: The images, float32 [B, H, W, C] in 0..1.
    factor: The factor of each image, float32 [B].
  """
  return jnp.clip(dull + factor[:, None, None, None] * (images - dull), 0, 1)


def brightness(images: jax.Array, factor: jax.Array) -> jax.Array:
  """Multiplies each image [B, H, W, C] by its factor [B]."""
  return blend(jnp.zeros((1, 1, 1, 1)), images, factor)


def contrast(images: jax.Array, factor: jax.Array) -> jax.Array:
  """Moves each image [B, H, W, C] away from its mean gray, or towards it, by its factor [B]."""
  return blend(mean_gray(images), images, factor)


def saturation(images: jax.Array, factor: jax.Array) -> jax.Array:
  """Moves each pixel of [B, H, W, C] away from its gray, or towards it, by its image's factor."""
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
    position = turned + offset
    position -= 6 * jnp.floor(position / 6)  # several times quicker on CPU than %
    return value - chroma * jnp.clip(jnp.minimum(position, 4 - position), 0, 1)

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
    key: The key of this step and this augmentation.
    images: The images, float32 [B, H, W, C] in 0..1; saturation and hue act where C is 3.
    brightness_range: The factor of brightness lies between 1 - brightness_range, or 0, and
      1 + brightness_range.
    contrast_range: The range of contrast's factor, in the same form.
    saturation_range: The range of saturation's factor, in the same form.
    hue_range: The largest turn of the hue to either side, as a part of a full circle.

  Returns:
    float32 [B, H, W, C] in 0..1.
  """
  draws = jax.random.uniform(key, (4, len(images)), minval=-1, maxval=1)

  def factor(row: int, reach: float) -> jax.Array:
    return jnp.maximum(1 + reach * draws[row], 0)

  if brightness_range:
    images = brightness(images, factor(0, brightness_range))
  if contrast_range:
    images = contrast(images, factor(1, contrast_range))
  if saturation_range and images.shape[-1] == 3:
    images = saturation(images, factor(2, saturation_range))
  if hue_range and images.shape[-1] == 3:
    images = hue(images, hue_range * draws[3])
  return images


def random_shift_and_scale(
  key: jax.Array, images: jax.Array, shift_range: float, scale_range: float
) -> jax.Array:
  """Returns (x + shift) scale, with a shift and a scale of its own for each normalized image.

  Cheaper than `random_color`, whose contrast needs the mean of each image; from the CIFAR-10
  speedrun of Hive (2025).

  Args:
    key: The key of this step and this augmentation.
    images: Normalized images, float32 [B, H, W, C].
    shift_range: The largest shift to either side.
    scale_range: Scales lie between 1 - scale_range and 1 + scale_range.
  """
  shift, scale = jax.random.uniform(key, (2, len(images), 1, 1, 1), minval=-1, maxval=1)
  return (images + shift_range * shift) * (1 + scale_range * scale)


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
