"""Ten shapes and textures, drawn by NumPy: data for demonstrations and tests without a download.

Every image has its own place, size, orientation, colors, shading and noise, so that a class
cannot be read off single pixels as a linear model would, while a small convolutional network
learns it in a minute.
"""

import functools
from collections.abc import Callable

import numpy as np

from cifar_jax.data.dataset import Dataset, Split

TRAIN_IMAGES = 10_000
TEST_IMAGES = 2_000
_SIZE = 32
_SEED = 2009
Coordinates = np.ndarray  # float32 [N, 32, 32], in units of the figure's radius


@functools.cache
def load() -> Dataset:
  """Draws the data set: always the same images, ten balanced classes in mixed order.

  Returns:
    10,000 training and 2,000 test images, uint8 `[N, 32, 32, 3]`; the arrays are shared between
    calls and cannot be written to.
  """
  generator = np.random.default_rng(_SEED)
  train, test = _draw(generator, TRAIN_IMAGES), _draw(generator, TEST_IMAGES)
  return Dataset('synthetic', train, test, CLASSES, source='built in', synthetic=True)


def _disc(x: Coordinates, y: Coordinates) -> np.ndarray:
  return np.hypot(x, y) - 0.85


def _ring(x: Coordinates, y: Coordinates) -> np.ndarray:
  return np.abs(np.hypot(x, y) - 0.7) - 0.2


def _square(x: Coordinates, y: Coordinates) -> np.ndarray:
  return np.maximum(np.abs(x), np.abs(y)) - 0.75


def _frame(x: Coordinates, y: Coordinates) -> np.ndarray:
  return np.abs(np.maximum(np.abs(x), np.abs(y)) - 0.65) - 0.18


def _triangle(x: Coordinates, y: Coordinates) -> np.ndarray:
  return np.maximum(np.abs(x) * 0.866 + y * 0.5, -y) - 0.5


def _cross(x: Coordinates, y: Coordinates) -> np.ndarray:
  x, y = np.abs(x), np.abs(y)
  return np.maximum(np.minimum(x, y) - 0.27, np.maximum(x, y) - 1)


def _crescent(x: Coordinates, y: Coordinates) -> np.ndarray:
  return np.maximum(np.hypot(x, y) - 0.95, 0.75 - np.hypot(x - 0.45, y))


def _star(x: Coordinates, y: Coordinates) -> np.ndarray:
  # Five points: fold the plane into one tenth of the turn, where an edge is a straight line.
  radius, angle = np.hypot(x, y), np.arctan2(y, x)
  folded = np.abs(np.mod(angle, np.pi / 2.5) - np.pi / 5)
  return radius * np.cos(np.pi / 5 - folded + 0.65) - 0.36


def _stripes(x: Coordinates, y: Coordinates) -> np.ndarray:
  return np.sin(x * 6.5) / 6.5


def _checkers(x: Coordinates, y: Coordinates) -> np.ndarray:
  return np.sin(x * 4.5) * np.sin(y * 4.5) / 4.5


# Name -> signed distance to the edge of the figure, negative inside.
_FIGURES: dict[str, Callable[[Coordinates, Coordinates], np.ndarray]] = {
  'disc': _disc,
  'ring': _ring,
  'square': _square,
  'frame': _frame,
  'triangle': _triangle,
  'cross': _cross,
  'crescent': _crescent,
  'star': _star,
  'stripes': _stripes,
  'checkers': _checkers,
}
CLASSES = tuple(_FIGURES)


def _draw(generator: np.random.Generator, count: int) -> Split:
  each = count // len(_FIGURES)
  images = np.concatenate([_paint(generator, figure, each) for figure in _FIGURES.values()])
  labels = np.repeat(np.arange(len(_FIGURES), dtype=np.int32), each)
  order = generator.permutation(count)
  images, labels = images[order], labels[order]
  images.setflags(write=False)
  labels.setflags(write=False)
  return Split(images, labels)


def _paint(
  generator: np.random.Generator,
  figure: Callable[[Coordinates, Coordinates], np.ndarray],
  count: int,
) -> np.ndarray:
  """Paints one figure `count` times: uint8 `[count, 32, 32, 3]`."""

  def uniform(low: float, high: float, *shape: int) -> np.ndarray:
    return generator.uniform(low, high, (count, *shape, 1, 1)).astype(np.float32)

  axis = np.arange(_SIZE, dtype=np.float32) - (_SIZE - 1) / 2
  down, right = axis[:, np.newaxis], axis
  radius = uniform(8, 13)
  angle = uniform(0, 2 * np.pi)
  x = (right - uniform(-3, 3)) / radius
  y = (down - uniform(-3, 3)) / radius
  x, y = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
  coverage = np.clip(0.5 - figure(x, y) * radius, 0, 1)[..., np.newaxis]  # One pixel of soft edge.

  # Colors [count, 1, 1, 3]; the figure is usually, not always, the brighter of the two.
  ink, paper = (generator.uniform(0, 1, (count, 1, 1, 3)).astype(np.float32) for _ in range(2))
  brightness = generator.uniform(0.25, 0.5, (count, 1, 1, 1)).astype(np.float32)
  sign = np.where(generator.uniform(size=(count, 1, 1, 1)) < 0.95, 1, -1).astype(np.float32)
  middle = generator.uniform(0.35, 0.65, (count, 1, 1, 3)).astype(np.float32)
  ink = middle + sign * brightness + (ink - 0.5) * 0.4
  paper = middle - sign * brightness + (paper - 0.5) * 0.4

  # Light falls off across the image in a direction of its own.
  light = uniform(-0.15, 0.15) * right / 16 + uniform(-0.15, 0.15) * down / 16
  noise = generator.standard_normal((count, _SIZE, _SIZE, 3), dtype=np.float32) * 0.05
  drawn = paper + (ink - paper) * coverage + light[..., np.newaxis] + noise
  return (np.clip(drawn, 0, 1) * 255 + 0.5).astype(np.uint8)
