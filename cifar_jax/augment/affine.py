"""Rotation, shift, shear and zoom as one affine map, sampled once."""

import math

import jax
import jax.numpy as jnp


def sample(
  images: jax.Array, matrices: jax.Array, interpolation: str = 'bilinear', border: str = 'nearest'
) -> jax.Array:
  """Reads each image at the positions that an affine map gives.

  Pixel (i, j) of the result is the image at row a i + b j + c and column d i + e j + f, where
  [[a, b, c], [d, e, f]] is the image's matrix. This is `scipy.ndimage.affine_transform` of each
  channel, of order 0 or 1.

  Args:
    images: The images, float32 [B, H, W, C].
    matrices: The matrix of each image, float32 [B, 2, 3].
    interpolation: 'nearest' takes one pixel, 'bilinear' goes between four.
    border: What lies outside. 'nearest': the outermost pixels repeated (aaa abcd ddd); 'reflect':
      the image mirrored at its edge (cba abcd dcb); 'wrap': the image repeated (bcd abcd abc),
      SciPy's 'grid-wrap'; 'zero': 0, SciPy's 'grid-constant'.

  Returns:
    float32 [B, H, W, C].
  """
  height, width = images.shape[1:3]
  if border == 'zero':  # a frame of zeros, repeated outwards
    images = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    matrices = matrices.at[:, :, 2].add(1)
  rows = jnp.arange(height, dtype=jnp.float32)[None, :, None]
  columns = jnp.arange(width, dtype=jnp.float32)[None, None, :]
  entries = matrices[:, :, :, None, None]
  y, x = (entries[:, k, 0] * rows + entries[:, k, 1] * columns + entries[:, k, 2] for k in (0, 1))
  if interpolation == 'nearest':
    return _pixels(images, _integers(y + 0.5), _integers(x + 0.5), border)
  top, left = _integers(y), _integers(x)
  down, right = (y - top)[..., None], (x - left)[..., None]
  above = _pixels(images, top, left, border) * (1 - right)
  above += _pixels(images, top, left + 1, border) * right
  below = _pixels(images, top + 1, left, border) * (1 - right)
  below += _pixels(images, top + 1, left + 1, border) * right
  return above * (1 - down) + below * down


def _integers(coordinates: jax.Array) -> jax.Array:
  return jnp.floor(coordinates).astype(jnp.int32)


def _pixels(images: jax.Array, rows: jax.Array, columns: jax.Array, border: str) -> jax.Array:
  """Pixels [B, H, W, C] at int32 rows and columns [B, H, W]; those outside by the border's rule."""
  rows, columns = _fold(rows, images.shape[1], border), _fold(columns, images.shape[2], border)

  def of_image(image: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    return image.at[rows, columns].get(mode='promise_in_bounds')

  # One gather per image: over several devices each reads its own images only.
  return jax.vmap(of_image)(images, rows, columns)


def _fold(indices: jax.Array, length: int, border: str) -> jax.Array:
  """Moves indices into 0 .. length - 1."""
  if border == 'wrap':
    return indices % length
  if border == 'reflect':
    folded = indices % (2 * length)
    return jnp.minimum(folded, 2 * length - 1 - folded)
  return jnp.clip(indices, 0, length - 1)


def matrices(
  rotation: jax.Array,
  shift: jax.Array,
  shear: jax.Array,
  zoom: jax.Array,
  image_shape: tuple[int, ...],
) -> jax.Array:
  """Matrices for `sample` that turn, shift, shear and zoom about the center of the image.

  The product is Keras's: rotation times shift times shear times zoom, from positions in the result
  to positions in the image. (The releases of 2017 took a center one pixel off.)

  Args:
    rotation: The angle by which the image turns clockwise, float32 [B], in radians.
    shift: The pixels by which the image moves up and to the left, float32 [B, 2].
    shear: The angle of the shear, float32 [B], in radians.
    zoom: The factors of rows and columns, float32 [B, 2]; the image grows below 1.
    image_shape: The height and the width of the images in pixels.

  Returns:
    float32 [B, 2, 3].
  """
  cos, sin = jnp.cos(rotation), jnp.sin(rotation)
  linear = jnp.stack(
    [
      jnp.stack([zoom[:, 0] * cos, -zoom[:, 1] * jnp.sin(rotation + shear)], axis=-1),
      jnp.stack([zoom[:, 0] * sin, zoom[:, 1] * jnp.cos(rotation + shear)], axis=-1),
    ],
    axis=1,
  )
  turned = jnp.stack(
    [cos * shift[:, 0] - sin * shift[:, 1], sin * shift[:, 0] + cos * shift[:, 1]], axis=-1
  )
  return about_center(linear, turned, image_shape)


def about_center(linear: jax.Array, shift: jax.Array, image_shape: tuple[int, ...]) -> jax.Array:
  """[B, 2, 2] and [B, 2] to [B, 2, 3]: the map x -> linear (x - center) + center + shift."""
  center = jnp.array([(length - 1) / 2 for length in image_shape], jnp.float32)[None]
  moved = linear[:, :, 0] * center[:, :1] + linear[:, :, 1] * center[:, 1:]
  return jnp.concatenate([linear, (center - moved + shift)[:, :, None]], axis=2)


def random_affine(
  key: jax.Array,
  images: jax.Array,
  rotation: float = 0.0,
  height_shift: float = 0.0,
  width_shift: float = 0.0,
  shear: float = 0.0,
  zoom: float = 0.0,
  interpolation: str = 'bilinear',
  border: str = 'nearest',
) -> jax.Array:
  """Turns, shifts, shears and zooms each image [B, H, W, C] by amounts of its own.

  The arguments are those of Keras's ImageDataGenerator; each amount is drawn uniformly.

  Args:
    key: The key of this step and this augmentation.
    images: The images, float32.
    rotation: The largest angle to either side, in degrees.
    height_shift: The largest shift up or down, as a part of the height.
    width_shift: The largest shift left or right, as a part of the width.
    shear: The largest angle of the shear to either side, in radians.
    zoom: Rows and columns are scaled by factors between 1 - zoom and 1 + zoom, independently.
    interpolation: How positions between pixels are read, see `sample`.
    border: What lies outside, see `sample`.
  """
  batch, height, width, _ = images.shape
  draws = jax.random.uniform(key, (6, batch), minval=-1, maxval=1)
  return sample(
    images,
    matrices(
      rotation=math.radians(rotation) * draws[0],
      shift=jnp.stack([height_shift * height * draws[1], width_shift * width * draws[2]], axis=-1),
      shear=shear * draws[3],
      zoom=1 + zoom * draws[4:].T,
      image_shape=(height, width),
    ),
    interpolation,
    border,
  )
