"""Mirror images, windows of images with a border around them, and boxes set to 0."""

import jax
import jax.numpy as jnp

from cifar_jax.ops.dispatch import target_platform
from cifar_jax.utils.array_types import Images, Indices, RandomKey, Step

_MOST_SELECTED = 8  # pixels of padding for which there are few enough windows to take them all


def random_flip(key: jax.Array, images: jax.Array) -> jax.Array:
  """Mirrors each image [B, H, W, C] left to right with probability 1/2."""
  return _mirror(images, jax.random.bernoulli(key, shape=(len(images),)))


def alternating_flip(
  example_key: RandomKey, images: Images, indices: Indices, epoch: Step
) -> Images:
  """Mirrors each image in every other epoch; a coin of its own decides whether in the even ones.

  Any two successive epochs show each image both ways, where independent coins would repeat one
  view for half of the images (Jordan, 2024).

  Args:
    example_key: A key that stays the same throughout a run.
    images: Images of any type, [B, H, W, C].
    indices: The examples' indices in the training set, int32 [B].
    epoch: The number of the epoch, int32 [], from 0.
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


def random_crop(
  key: jax.Array, images: jax.Array, padding: int, border: str = 'reflect'
) -> jax.Array:
  """Shifts each image [B, H, W, C] by up to `padding` pixels in y and x.

  Args:
    key: The key of this step and this augmentation.
    images: Images of any floating type.
    padding: The pixels on each side.
    border: What comes in from outside: 'reflect', the image mirrored at its outermost pixels, or
      'zero'.
  """
  batch, height, width, channels = images.shape
  padded = pad_by_reflection(images, padding) if border == 'reflect' else _pad(images, padding)
  corners = jax.random.randint(key, (batch, 2), 0, 2 * padding + 1)
  if target_platform() == 'tpu' and padding <= _MOST_SELECTED:
    rows = _select_window(padded, 1, corners[:, 0], height)
    return _select_window(rows, 2, corners[:, 1], width)

  def crop(image: jax.Array, corner: jax.Array) -> jax.Array:
    return jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), (height, width, channels))

  return jax.vmap(crop)(padded, corners)


def _select_window(images: jax.Array, axis: int, starts: jax.Array, length: int) -> jax.Array:
  """The window of each image along an axis from its own start, int32 [B].

  On TPU a window cut out of each image is a loop over the batch. This takes each of the windows
  that there can be of the whole batch, and keeps it for those images whose window it is.
  """
  chosen = jax.lax.slice_in_dim(images, 0, length, axis=axis)
  for start in range(1, images.shape[axis] - length + 1):
    window = jax.lax.slice_in_dim(images, start, start + length, axis=axis)
    chosen = jnp.where((starts == start)[:, None, None, None], window, chosen)
  return chosen


def pad_by_reflection(images: jax.Array, padding: int) -> jax.Array:
  """Adds `padding` pixels on each side of [B, H, W, C], mirrored at the outermost ones."""
  return _pad(images, padding, mode='reflect')


def _pad(images: jax.Array, padding: int, mode: str = 'constant') -> jax.Array:
  return jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)), mode=mode)


def random_cutout(key: jax.Array, images: jax.Array, size: int) -> jax.Array:
  """Sets a box of size x size pixels in each image [B, H, W, C] to 0, the mean of normalized ones.

  DeVries and Taylor (2017), but the box is never cut by the border. An image smaller than the box
  is covered whole.
  """
  batch, height, width, _ = images.shape
  row_key, column_key = jax.random.split(key)
  sizes = jnp.full((batch,), size)
  rows = _interval(row_key, sizes, height)
  columns = _interval(column_key, sizes, width)
  return jnp.where(rows[:, :, None, None] & columns[:, None, :, None], 0, images)


def random_erasing(key: jax.Array, images: jax.Array, probability: float) -> jax.Array:
  """Sets a box of random area and shape in some of the images [B, H, W, C] to 0.

  Zhong et al. (2017), with torchvision's ranges: 2 to 33 % of the area, height by width 0.3 to 3.3
  on a logarithmic scale; a side longer than the image is cut to it.

  Args:
    key: The key of this step and this augmentation.
    images: Normalized images, float32; 0 is their mean.
    probability: The probability that an image loses a box.
  """
  batch, height, width, _ = images.shape
  coin_key, area_key, shape_key, row_key, column_key = jax.random.split(key, 5)
  area = jax.random.uniform(area_key, (batch,), minval=0.02, maxval=0.33) * height * width
  shape = jnp.exp(jax.random.uniform(shape_key, (batch,), minval=jnp.log(0.3), maxval=jnp.log(3.3)))
  erased = jax.random.bernoulli(coin_key, probability, (batch,))

  def side(length: jax.Array, limit: int) -> jax.Array:
    return jnp.where(erased, jnp.clip(jnp.round(length).astype(jnp.int32), 1, limit), 0)

  rows = _interval(row_key, side(jnp.sqrt(area * shape), height), height)
  columns = _interval(column_key, side(jnp.sqrt(area / shape), width), width)
  return jnp.where(rows[:, :, None, None] & columns[:, None, :, None], 0, images)


def _interval(key: jax.Array, sizes: jax.Array, length: int) -> jax.Array:
  """bool [B, length]: True in an interval of `sizes` [B] positions somewhere in 0 .. length - 1."""
  starts = jax.random.randint(key, sizes.shape, 0, jnp.maximum(length - sizes, 0) + 1)[:, None]
  positions = jnp.arange(length)[None]
  return (positions >= starts) & (positions < starts + sizes[:, None])
