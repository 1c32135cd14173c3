"""From pixels to the inputs of an update, in NumPy and double precision.

Written from what configs/base.py says of each option, not from the toolkit's programs. Only the
draws are JAX's, since they must coincide: all follow from (seed, step) as `training/steps.py`
documents, with four root keys (initial parameters, order, step, example). The key of a step is
split into one for the images and one for dropout; each augmentation folds its place into the first.
"""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

# The places of augmentations in the chain.
FLIP, CROP, CUTOUT = 0, 3, 6


@dataclasses.dataclass(frozen=True)
class Inputs:
  """What `config.data` and `config.augment` ask for.

  Attributes:
    normalize: The function that `normalization` returned.
    mean: One number, or one per channel.
    std: One number, or one per channel.
    zca_epsilon: A constant that is added to the variances.
    flip: 'none', 'random' or 'alternating'.
    crop_padding: The border of a random crop in pixels.
    crop_border: 'reflect' or 'zero'.
    cutout: The side of the box in pixels; 0: none.
  """

  normalize: str = 'given'
  mean: tuple[float, ...] = (0.0,)
  std: tuple[float, ...] = (1.0,)
  zca_epsilon: float = 0.1
  flip: str = 'none'
  crop_padding: int = 0
  crop_border: str = 'reflect'
  cutout: int = 0

  def options(self) -> dict[str, object]:
    """The same as options of a config."""
    data = {f'data.{name}': getattr(self, name) for name in ('normalize', 'mean', 'std')}
    names = ('flip', 'crop_padding', 'crop_border', 'cutout')
    augment = {f'augment.{name}': getattr(self, name) for name in names}
    return {**data, 'data.zca_epsilon': self.zca_epsilon, **augment}


class RandomKeys:
  """The keys of a run, from its seed."""

  def __init__(self, seed: int):
    self.init, self._order, self._step, self._example = jax.random.split(jax.random.key(seed), 4)

  def order(self, epoch: int, examples: int) -> np.ndarray:
    """int [examples], the order of an epoch."""
    return np.asarray(jax.random.permutation(jax.random.fold_in(self._order, epoch), examples))

  def of_step(self, step: int) -> tuple[jax.Array, jax.Array]:
    """That of the images, that of dropout."""
    images, dropout = jax.random.split(jax.random.fold_in(self._step, step))
    return images, dropout

  def coins(self, indices: np.ndarray) -> np.ndarray:
    """bool [N], one of each example throughout the run."""
    return np.asarray(_coins(self._example, indices))


@jax.jit
def _coins(key: jax.Array, indices: np.ndarray) -> jax.Array:
  return jax.vmap(lambda index: jax.random.bernoulli(jax.random.fold_in(key, index)))(indices)


def normalization(wanted: Inputs, train: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
  """Returns pixels in 0..1, float64 [N, H, W, C] -> inputs of the same shape.

  Args:
    wanted: The options.
    train: The training images, uint8 [N, H, W, C].
  """
  known = train / 255
  if wanted.normalize == 'given':
    mean, std = np.array(wanted.mean), np.array(wanted.std)
    return lambda pixels: (pixels - mean) / std
  if wanted.normalize == 'channel':
    return lambda pixels: (pixels - known.mean((0, 1, 2))) / known.std((0, 1, 2))
  flat = known.reshape(len(known), -1)
  variances, axes = np.linalg.eigh(np.cov(flat, rowvar=False, bias=True))
  whitening = axes @ np.diag(1 / np.sqrt(variances + wanted.zca_epsilon)) @ axes.T
  return lambda pixels: ((pixels.reshape(len(pixels), -1) - flat.mean(0)) @ whitening).reshape(
    pixels.shape
  )


def augmented(
  wanted: Inputs,
  normalize: Callable[[np.ndarray], np.ndarray],
  keys: RandomKeys,
  images: np.ndarray,
  indices: np.ndarray,
  step: int,
  epoch: int,
) -> np.ndarray:
  """The inputs of an update, float64 [B, H, W, C].

  Args:
    wanted: The options.
    normalize: The function that `normalization` returned.
    keys: The random keys of the run.
    images: uint8 [B, H, W, C].
    indices: int [B], their places in the training set.
    step: The number of updates made.
    epoch: The number of the epoch, counted from 0.
  """
  key, _ = keys.of_step(step)
  batch, height, width, _ = images.shape
  pixels = images / 255
  if wanted.flip == 'random':
    mirrored = np.asarray(jax.random.bernoulli(jax.random.fold_in(key, FLIP), shape=(batch,)))
  elif wanted.flip == 'alternating':
    mirrored = keys.coins(indices) ^ (epoch % 2 == 1)
  else:
    mirrored = np.zeros(batch, bool)
  pixels = np.stack([np.fliplr(p) if m else p for p, m in zip(pixels, mirrored, strict=True)])
  if wanted.crop_padding:
    pad = wanted.crop_padding
    draws = jax.random.randint(jax.random.fold_in(key, CROP), (batch, 2), 0, 2 * pad + 1)
    mode = {'reflect': 'reflect', 'zero': 'constant'}[wanted.crop_border]
    bordered = np.pad(pixels, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode=mode)
    pixels = np.stack(
      [
        image[top : top + height, left : left + width]
        for image, (top, left) in zip(bordered, np.asarray(draws), strict=True)
      ]
    )
  inputs = normalize(pixels)
  if wanted.cutout:
    size = wanted.cutout
    row_key, column_key = jax.random.split(jax.random.fold_in(key, CUTOUT))
    tops = np.asarray(jax.random.randint(row_key, (batch,), 0, height - size + 1))
    lefts = np.asarray(jax.random.randint(column_key, (batch,), 0, width - size + 1))
    for image, top, left in zip(inputs, tops, lefts, strict=True):
      image[top : top + size, left : left + size] = 0
  return inputs
