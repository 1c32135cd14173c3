"""RandAugment and TrivialAugment: operations drawn for each image from one list of fourteen.

An operation is one of three kinds, and each kind is computed once for the whole batch with each
image's own strength, instead of all fourteen operations for every image: geometry (one affine map),
colors (one blend with a duller image) and levels.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from cifar_jax.augment import affine, color

OPERATIONS = (
  'identity',
  'shear_x',
  'shear_y',
  'translate_x',
  'translate_y',
  'rotate',
  'brightness',
  'color',
  'contrast',
  'sharpness',
  'posterize',
  'solarize',
  'autocontrast',
  'equalize',
)
MAGNITUDES = 31  # 0 is none of an operation, 30 the most
_AFFINE, _COLORS = OPERATIONS[1:6], OPERATIONS[6:10]
_GRAY = 0.5  # what comes in from outside the image


@dataclasses.dataclass(frozen=True)
class Ranges:
  """What magnitude 30 means.

  Attributes:
    shear: The pixels to the side for each pixel down, or down for each to the side.
    translate: The shift in pixels.
    rotate: The angle in degrees.
    color: What is added to, or taken from, the blending factor 1.
    dropped_bits: The bits that posterize clears.
  """

  shear: float
  translate: float
  rotate: float
  color: float
  dropped_bits: int


def randaugment(
  key: jax.Array, images: jax.Array, operations: int = 2, magnitude: int = 9
) -> jax.Array:
  """Cubuk et al. (2020): some operations at random, one after another, all of one magnitude.

  Operations and ranges are torchvision's. Translations reach 150/331 of the side; what comes in
  from outside is gray.

  Args:
    key: The key of this step and this augmentation.
    images: The images, float32 [B, H, W, C] in 0..1.
    operations: The number of operations per image.
    magnitude: The magnitude of all operations, 0..30.
  """
  ranges = Ranges(0.3, 150 / 331 * images.shape[2], 30.0, 0.9, 4)
  strength = jnp.full((len(images),), magnitude / (MAGNITUDES - 1))
  for layer_key in jax.random.split(key, operations):
    operation, sign = _draw(layer_key, len(images))
    images = apply(images, operation, strength, sign, ranges)
  return images


def trivialaugment(key: jax.Array, images: jax.Array) -> jax.Array:
  """Müller and Hutter (2021), the wide ranges: one operation of a magnitude at random for each.

  Args:
    key: The key of this step and this augmentation.
    images: The images, float32 [B, H, W, C] in 0..1.
  """
  draw_key, strength_key = jax.random.split(key)
  operation, sign = _draw(draw_key, len(images))
  bins = jax.random.randint(strength_key, (len(images),), 0, MAGNITUDES)
  ranges = Ranges(0.99, 32.0, 135.0, 0.99, 6)
  return apply(images, operation, bins / jnp.float32(MAGNITUDES - 1), sign, ranges)


def _draw(key: jax.Array, batch: int) -> tuple[jax.Array, jax.Array]:
  """An operation int32 [B], and float32 [B] of 1 and -1."""
  operation_key, sign_key = jax.random.split(key)
  operation = jax.random.randint(operation_key, (batch,), 0, len(OPERATIONS))
  return operation, jax.random.rademacher(sign_key, (batch,), jnp.float32)


def apply(
  images: jax.Array, operation: jax.Array, strength: jax.Array, sign: jax.Array, ranges: Ranges
) -> jax.Array:
  """Applies to each image [B, H, W, C] its operation.

  Args:
    images: The images, float32 in 0..1.
    operation: The index in OPERATIONS of each image's operation, int32 [B].
    strength: The part of the range, float32 [B] in 0..1.
    sign: The side of shears, shifts, turns and colors, float32 [B] of 1 and -1.
    ranges: What strength 1 means.
  """

  def chosen(*names: str) -> jax.Array:
    return jnp.isin(operation, jnp.array([OPERATIONS.index(name) for name in names]))

  def amount(name: str, reach: float) -> jax.Array:
    return jnp.where(chosen(name), reach * strength * sign, 0)

  def of(*names: str) -> jax.Array:
    return chosen(*names)[:, None, None, None]

  moved = affine.sample(
    images - _GRAY, _matrices(amount, ranges, images.shape[1:3]), 'nearest', 'zero'
  )
  images = jnp.where(of(*_AFFINE), moved + _GRAY, images)
  dull = jnp.where(of('color'), color.gray(images), color.mean_gray(images))
  dull = jnp.where(of('brightness'), 0, dull)
  dull = jnp.where(of('sharpness'), smooth(images), dull)
  blended = color.blend(dull, images, 1 + ranges.color * strength * sign)
  images = jnp.where(of(*_COLORS), blended, images)
  dropped_bits = jnp.round(ranges.dropped_bits * strength).astype(jnp.int32)
  images = jnp.where(of('posterize'), color.posterize(images, dropped_bits), images)
  images = jnp.where(of('solarize'), color.solarize(images, 1 - strength), images)
  images = jnp.where(of('autocontrast'), color.autocontrast(images), images)
  return jnp.where(of('equalize'), color.equalize(images), images)


def _matrices(
  amount: Callable[[str, float], jax.Array], ranges: Ranges, image_shape: tuple[int, ...]
) -> jax.Array:
  """[B, 2, 3] for `affine.sample`; shears leave the upper left corner in place, as published."""
  shear_x, shear_y = amount('shear_x', ranges.shear), amount('shear_y', ranges.shear)
  angle = amount('rotate', math.radians(ranges.rotate))
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  rotation = jnp.stack([jnp.stack([cos, -sin], axis=-1), jnp.stack([sin, cos], axis=-1)], axis=1)
  shift = [amount('translate_y', ranges.translate), amount('translate_x', ranges.translate)]
  turned = affine.about_center(rotation, jnp.stack(shift, axis=-1), image_shape)
  # Of the six numbers of a matrix; the corner lies half a pixel outside of pixel (0, 0).
  none = jnp.zeros_like(angle)
  sheared = jnp.stack([none, shear_y, shear_y / 2, shear_x, none, shear_x / 2], axis=-1)
  return turned + sheared.reshape(-1, 2, 3)


def smooth(images: jax.Array) -> jax.Array:
  """Mean of each pixel of [B, H, W, C], with weight 5, and its eight neighbors; borders stay."""
  height, width = images.shape[1:3]
  if min(height, width) < 3:
    return images
  columns = images[:, :, :-2] + images[:, :, 1:-1] + images[:, :, 2:]
  boxes = columns[:, :-2] + columns[:, 1:-1] + columns[:, 2:]
  inner = (boxes + 4 * images[:, 1:-1, 1:-1]) / 13
  return images.at[:, 1:-1, 1:-1].set(inner)
