"""Pixels of arrays, in the forms in which people save them, as uint8 from 0 to 255.

Nothing is guessed where a wrong guess would train without a word: on channels for rows, or on
pixels that are nearly black.
"""

import pathlib
from collections.abc import Mapping

import numpy as np

from cifar_jax.data.dataset import Split
from cifar_jax.utils.errors import UserError

# Pixels are divided by 255. Up to here they are on another scale (0..1, 0..16 of the digits of
# scikit-learn, 0..31 of five bits); below the second number that is possible, and worth a word.
_TOO_DARK, _DARK = 31, 127
_MOST_CHANNELS = 4
_ROWS = 1024  # images converted at a time, which bounds the memory in use


def check_scales(path: pathlib.Path, images: Mapping[str, np.ndarray]) -> None:
  """Refuses arrays of which one has pixels from 0 to 1 and another such as are above 1."""
  ranges = {
    name: _scale(array) for name, array in images.items() if array.size and array.dtype != np.uint8
  }
  if {1, 255} <= set(ranges.values()):
    said = ', '.join(
      f'{name} {"0 to 1" if scale == 255 else "0 to 255"}' for name, scale in ranges.items()
    )
    raise UserError(f'{path} holds pixels of different ranges, {said}; save all in the same.')


def uint8_images(images: np.ndarray, where: str, notes: list[str]) -> np.ndarray:
  """Images of uint8 with their channels last; refuses other numbers, with how to make them so."""
  name = where.split(', ')[-1].rstrip(',')
  if images.dtype != np.uint8 and images.dtype.kind in 'biuf' and images.size:
    scale = _scale(images)
    if not scale:
      low, high = images.min(), images.max()
      if not np.isfinite([low, high]).all():
        raise UserError(
          f'{where} holds numbers that are not finite; replace them and save it again'
        )
      formula = 'images' if high > 1 else '255 * images'
      if -1 <= low < 0 and high <= 1:
        formula = '127.5 * (images + 1)'
      raise UserError(
        f'{where} holds images of type {images.dtype} from {low:g} to {high:g} and shape '
        f'{list(images.shape)}; expected uint8 from 0 to 255, or numbers from 0 to 1: save '
        f"({formula}).round().astype('uint8'), scaled to that range."
      )
    images = _as_bytes(images, scale, name, notes)
  if images.ndim == 4 and _MOST_CHANNELS < images.shape[3] == images.shape[2] == images.shape[1]:
    raise UserError(
      f'{where} holds volumes of the shape {list(images.shape[1:])}; images are trained on '
      'here, as one slice of each'
    )
  if images.ndim == 4 and images.shape[1] <= _MOST_CHANNELS < min(images.shape[2:]):
    notes.append(
      f'{name}: channels first, {list(images.shape[1:])}, read as '
      f'{[*images.shape[2:], images.shape[1]]}'
    )
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))
  return images


def check_brightness(path: pathlib.Path, train: Split, notes: list[str]) -> None:
  """Refuses images that are nearly black once they are divided by 255."""
  low, high = int(train.images.min()), int(train.images.max())
  if high <= _TOO_DARK:
    raise UserError(
      f'{path} holds training images with pixels from {low} to {high}; expected 0 to 255, by which '
      f"they are divided: save (images * (255 / {max(high, 1)})).round().astype('uint8')."
    )
  if high <= _DARK:
    notes.append(f'pixels are from {low} to {high}, and are divided by 255')


def _scale(images: np.ndarray) -> int:
  """What pixels of another type than uint8 are multiplied by: 1 for whole numbers from 0 to 255,
  255 for floating numbers from 0 to 1, 0 where they are neither.
  """
  if images.dtype.kind not in 'iuf' or not images.size or not images.ndim:
    return 0
  low, high = images.min(), images.max()
  if images.dtype.kind == 'f' and low >= 0 and 0 < high <= 1:
    return 255
  parts = (images[start : start + _ROWS] for start in range(0, len(images), _ROWS))
  whole = low >= 0 and 1 < high <= 255 and all(bool((part == part.round()).all()) for part in parts)
  return int(whole)


def _as_bytes(images: np.ndarray, scale: int, name: str, notes: list[str]) -> np.ndarray:
  """Pixels times their `_scale` as uint8, to the nearest."""
  converted = np.empty(images.shape, np.uint8)
  error = 0.0
  for start in range(0, len(images), _ROWS):
    pixels = images[start : start + _ROWS].astype(np.float64) * scale
    nearest = pixels.round()
    error = max(error, float(np.abs(pixels - nearest).max(initial=0)))
    converted[start : start + _ROWS] = nearest
  # What is left of k / 255 in the type of the file.
  exact = images.dtype.kind != 'f' or error <= 255 * float(np.finfo(images.dtype).eps)
  how = 'exactly' if exact else 'rounded to the nearest, off by half a level at most'
  span = '0 to 1' if scale == 255 else '0 to 255'
  notes.append(f'{name}: {images.dtype} from {span}, read as 0 to 255, {how}')
  return converted
