"""Images made to fit a network: grey or three channels, a black border."""

import dataclasses

import numpy as np

from cifar_jax.data.dataset import Dataset, Split
from cifar_jax.errors import UserError
from cifar_jax.startup import host_memory

# Luma of ITU-R BT.601 in thousandths of red, green and blue.
_LUMA = np.array([299, 587, 114], np.uint32)
_ROWS = 4096  # images converted at a time, which bounds the memory in use


def adapt(dataset: Dataset, channels: int, pad_to: int) -> Dataset:
  """Applies `config.data.channels` and `config.data.pad_to` to all images of a data set.

  Args:
    dataset: as its source delivers it.
    channels: 1 makes colours grey, 3 repeats grey; 0 leaves the images as they are.
    pad_to: side in pixels of the square in whose middle each image is put; 0 for none.

  Raises:
    UserError: the images have another number of channels, or are larger than the square.
  """

  if not channels and not pad_to:
    return dataset

  def change(split: Split) -> Split:
    return Split(pad(with_channels(split.images, channels), pad_to), split.labels)

  return dataclasses.replace(
    dataset,
    train=change(dataset.train),
    test=change(dataset.test),
    validation=None if dataset.validation is None else change(dataset.validation),
  )


def with_channels(images: np.ndarray, channels: int) -> np.ndarray:
  """Returns uint8 [N, H, W, C] with 1 channel (ITU-R BT.601 luma, rounded) or 3 (grey repeated).

  Raises:
    UserError: there is no such conversion.
  """
  present = images.shape[-1]
  if channels in (0, present):
    return images
  if (present, channels) == (1, 3):
    return np.repeat(images, 3, axis=-1)
  if (present, channels) != (3, 1):
    raise UserError(
      f'--config.data.channels={channels} cannot be made of images with {present} channels; '
      'use 0 to leave them as they are'
    )
  grey = np.empty((*images.shape[:-1], 1), np.uint8)
  for start in range(0, len(images), _ROWS):
    part = images[start : start + _ROWS].astype(np.uint32)
    grey[start : start + _ROWS, ..., 0] = (part @ _LUMA + 500) // 1000
  return grey


def pad(images: np.ndarray, side: int) -> np.ndarray:
  """Puts uint8 [N, H, W, C] into the middle of black squares of `side` pixels; 0 changes nothing.

  Raises:
    UserError: the images are larger.
  """
  height, width = images.shape[1:3]
  if side in (0, height) and side in (0, width):
    return images
  if max(height, width) > side:
    raise UserError(
      f'--config.data.pad_to={side} is smaller than the images of {height}x{width} pixels; '
      'use 0 to leave them as they are'
    )
  _check_room(images.shape, side)
  borders = [((side - size) // 2, side - size - (side - size) // 2) for size in (height, width)]
  return np.pad(images, ((0, 0), *borders, (0, 0)))


def _check_room(shape: tuple[int, ...], side: int) -> None:
  count, height, width, channels = shape
  needed, there = count * side * side * channels, host_memory.available()
  if there is not None and needed > there:
    raise UserError(
      f'--config.data.pad_to={side} makes {needed / 2**30:,.2f} GiB of {count} images of '
      f'{height}x{width} pixels, and this machine has {there / 2**30:,.2f} GiB; use a smaller side'
    )
