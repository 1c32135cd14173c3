"""Boxes of each image set to 0, which is the mean of a normalised image."""

import jax
import jax.numpy as jnp


def random_cutout(key: jax.Array, images: jax.Array, size: int) -> jax.Array:
  """Sets a box of size x size pixels in each image [B, H, W, C] to 0.

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
    key: of this step and this augmentation.
    images: float32, normalised.
    probability: that an image loses a box.
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
  """bool [B, length]: True in an interval of `sizes` [B] places somewhere in 0 .. length - 1."""
  starts = jax.random.randint(key, sizes.shape, 0, jnp.maximum(length - sizes, 0) + 1)[:, None]
  places = jnp.arange(length)[None]
  return (places >= starts) & (places < starts + sizes[:, None])
