"""The figures of the demos, original and result side by side."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from cifar_jax.data.image_file import DamagedImageError, decode, reduced_size
from cifar_jax.data.preprocessing import Preprocessing
from cifar_jax.demos import layers
from cifar_jax.figures import charts, files
from cifar_jax.predict.image_files import read_bytes
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import make_folder

_SIDE = 256  # pixels to which the longer side of an image is reduced
_MEGAPIXELS = 64.0  # of an image at most


def gray(source: str) -> np.ndarray:
  """Reads an image of the user's as gray float32 [H, W], 0..255, at most 256 pixels wide and high.

  Raises:
    UserError: it cannot be read.
  """
  try:
    content = read_bytes(source, _MEGAPIXELS)
    wanted = Preprocessing(*reduced_size(content, _SIDE, _MEGAPIXELS), source_channels=1)
    return decode(content, wanted).pixels[..., 0].astype(np.float32)
  except DamagedImageError as error:
    raise UserError(f'{source}: {error}; give another picture') from None


def kernels(image: np.ndarray) -> dict[str, Any]:
  """One figure per kernel, and Sobel's magnitude: name -> figure."""
  drawn = {
    name: side_by_side(
      {'Original image': image, f'Convolved: {name}': layers.convolve(image, kernel)}
    )
    for name, kernel in layers.KERNELS.items()
  }
  drawn['sobel'] = side_by_side(
    {'Original image': image, 'Sobel: strength of the gradient': layers.sobel(image)}
  )
  return drawn


def relu(image: np.ndarray) -> dict[str, Any]:
  """A map before and after ReLU."""
  found = layers.convolve(image, layers.KERNELS['edges'])
  return {
    'relu': side_by_side({'Feature map': found, 'Rectified feature map': layers.rectify(found)})
  }


def pooling(image: np.ndarray) -> dict[str, Any]:
  """Max-pooling of the image, and of 10 x 10 and 4 x 4 numbers."""
  numbers = np.arange(100, dtype=np.float32).reshape(10, 10)
  small = np.array([[1, 3, 2, 9], [7, 4, 1, 5], [8, 5, 2, 3], [4, 2, 1, 4]], np.float32)
  return {
    'picture': side_by_side({'Map': image, 'Max-pooled 2 x 2': layers.max_pool(image)}),
    '10x10': side_by_side({'10 x 10': numbers, '5 x 5': layers.max_pool(numbers)}, numbered=True),
    '4x4': side_by_side({'4 x 4': small, '2 x 2': layers.max_pool(small)}, numbered=True),
  }


@charts.styled
def side_by_side(maps: Mapping[str, np.ndarray], numbered: bool = False) -> Any:
  """Gray images with titles and without axes; with their numbers where they are few."""
  made, axes = charts.figure(10, 5.2, ncols=len(maps), squeeze=False)
  for axis, (title, values) in zip(axes[0], maps.items(), strict=True):
    axis.imshow(values, cmap='gray')
    axis.set_title(title)
    axis.axis('off')
    if numbered:
      middle = (values.min() + values.max()) / 2
      for (row, column), value in np.ndenumerate(values):
        color = 'black' if value > middle else 'white'
        axis.text(column, row, f'{value:.0f}', ha='center', va='center', color=color)
  return made


def save(drawn: Mapping[str, Any], folder: pathlib.Path) -> list[pathlib.Path]:
  """Writes each figure as SVG and PNG; returns the PNG files."""
  make_folder(folder)
  paths = []
  for name, figure in drawn.items():
    stem = name.replace(' ', '_')
    files.save_figure(figure, folder, stem)
    paths.append(folder / f'{stem}.png')
  return paths
