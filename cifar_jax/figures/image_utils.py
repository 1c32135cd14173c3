"""Images made of arrays: grids of images, color maps, PNG; no axes and no fonts."""

import base64
import io
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import PIL.Image

from cifar_jax.data.preprocessing import with_channels
from cifar_jax.figures import charts
from cifar_jax.utils.array_types import ColorImage, Image, Map, Sheet, SmallMap
from cifar_jax.utils.optional_deps import require


def grid(images: Sequence[Image], columns: int, gap: int = 1, blank: int = 255) -> Sheet:
  """Images of one size in rows; rows fill up."""
  height, width, channels = images[0].shape
  rows = -(-len(images) // columns)
  shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, channels)
  canvas = np.full(shape, blank, np.uint8)
  for index, image in enumerate(images):
    row, column = divmod(index, columns)
    top, left = row * (height + gap), column * (width + gap)
    canvas[top : top + height, left : left + width] = image
  return canvas


def enlarge(image: Image, factor: int) -> Sheet:
  """Each pixel as a square of `factor` pixels: small images stay sharp."""
  return image.repeat(factor, axis=0).repeat(factor, axis=1)


def sheet(images: Sequence[Image], columns: int) -> Sheet:
  """A grid of images, small ones enlarged to about 96 pixels."""
  return enlarge(grid(images, columns), max(1, round(96 / images[0].shape[1])))


def to_range(values: np.ndarray) -> np.ndarray:
  """Any numbers to uint8, the lowest to 0 and the highest to 255."""
  low, high = float(values.min()), float(values.max())
  return np.round((values - low) / max(high - low, 1e-12) * 255).astype(np.uint8)


def colored(values: Map, color_map: str = 'viridis') -> ColorImage:
  """Numbers in a color map of matplotlib."""
  (matplotlib,) = require('report', 'matplotlib')
  return (matplotlib.colormaps[color_map](to_range(values))[..., :3] * 255).astype(np.uint8)


def resized(values: Map, height: int, width: int) -> SmallMap:
  """A map stretched to another size, bilinearly."""
  image = PIL.Image.fromarray(values.astype(np.float32))
  return np.asarray(image.resize((width, height), PIL.Image.Resampling.BILINEAR))


def rgb(image: Image) -> ColorImage:
  """An image as it is shown: gray repeated, transparency on white; of two
  channels, or of more than four, the first one or three.
  """
  channels = image.shape[-1]
  if channels == 2 or channels > 4:
    image = image[..., : 1 if channels == 2 else 3]
  return with_channels(image[None], 3)[0]


def overlay(image: Image, heat: SmallMap) -> ColorImage:
  """A heat map laid over an image."""
  height, width = image.shape[:2]
  colors = colored(resized(heat, height, width), 'inferno').astype(np.float32)
  return (0.5 * colors + 0.5 * rgb(image)).astype(np.uint8)


def png(image: Image) -> bytes:
  """An image as the bytes of a PNG file: gray, or as `rgb` shows it."""
  buffer = io.BytesIO()
  # optimize=True would save a hundredth and take half as long again.
  PIL.Image.fromarray(image[..., 0] if image.shape[-1] == 1 else rgb(image)).save(buffer, 'PNG')
  return buffer.getvalue()


def of_figure(figure: Any, dpi: int = 80) -> ColorImage:
  """A matplotlib figure on white."""
  buffer = io.BytesIO()
  with charts.style():
    figure.savefig(buffer, format='png', dpi=dpi, facecolor='white')
  return np.asarray(PIL.Image.open(buffer).convert('RGB'))


def data_uri(image: Image) -> str:
  """An image as an address that holds its PNG, for pages that need no other file."""
  return _address_of(png(image))


def save(image: Image, path: pathlib.Path) -> str:
  """Writes an image as PNG; returns the same as an address for a page."""
  content = png(image)
  path.write_bytes(content)
  return _address_of(content)


def _address_of(content: bytes) -> str:
  return f'data:image/png;base64,{base64.b64encode(content).decode()}'
