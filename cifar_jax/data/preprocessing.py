"""How an image file becomes an input of a network: one value, kept with the run.

Whoever decodes an image for a run, to train on it or to predict its class, does it by the same
`Preprocessing`; so the same file gives the same pixels everywhere.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from cifar_jax.startup import host_memory
from cifar_jax.utils.errors import UserError

# Luma of ITU-R BT.601 in thousandths of red, green and blue.
_LUMA = np.array([299, 587, 114], np.uint32)
# The values of `config.data.name` for image files, which `config.data.folder` is about.
FILE_SOURCES = ('folder', 'csv')
RESIZES = ('stretch', 'crop', 'pad')
INTERPOLATIONS = ('nearest', 'bilinear', 'lanczos')
_ROWS = 4096  # images converted at a time, which bounds the memory in use


@dataclasses.dataclass(frozen=True)
class Preprocessing:
  """Maps the content of an image file to uint8 [H, W, C], in the order of the attributes.

  Attributes:
    height: The height of the resized image in pixels, before any border.
    width: The width of the resized image in pixels, before any border.
    resize: 'stretch' ignores the aspect ratio as Keras does; 'crop' keeps it and cuts off what is
      too long, on both sides alike; 'pad' keeps it and adds black bars. An image that has the size
      already stays as it is.
    interpolation: 'nearest' (as Keras 2.0 had it), 'bilinear' or 'lanczos', the latter two with a
      filter as wide as the reduction, so that nothing aliases.
    max_megapixels: A file that says it has more is not decoded.
    source_channels: The channels of the images that the network was trained with, as their source
      has them: 1 makes color gray, 3 lays transparency on white, 4 keeps it.
    channels: `config.data.channels`: what becomes of those channels, see `with_channels`.
    pad_to: `config.data.pad_to`: side in pixels of the black square around the image; 0 for none.
  """

  height: int
  width: int
  resize: str = 'crop'
  interpolation: str = 'lanczos'
  max_megapixels: float = 64.0
  source_channels: int = 3
  channels: int = 0
  pad_to: int = 0

  @functools.cached_property
  def shape(self) -> tuple[int, int, int]:
    """(H, W, C) of the network's inputs; raises UserError as `with_channels` and `pad` do."""
    pixel = np.zeros((1, 1, 1, self.source_channels), np.uint8)
    channels = with_channels(pixel, self.channels).shape[-1]
    (top, bottom), (left, right) = _borders(self.height, self.width, self.pad_to)
    return top + self.height + bottom, left + self.width + right, channels

  def finish(self, images: np.ndarray) -> np.ndarray:
    """The last two steps, channels and border: uint8 [N, height, width, source_channels] -> uint8
    [N, H, W, C].

    Raises:
      UserError: there is no such conversion of channels, or the images are larger than the border.
    """
    return pad(with_channels(images, self.channels), self.pad_to)


def of_folder(data_config: ConfigDict) -> Preprocessing:
  """What `config.data` says about the files of a folder; raises UserError as `finish` does."""
  options = data_config.folder
  height, width = options.image_size
  found = Preprocessing(
    height,
    width,
    options.resize,
    options.interpolation,
    options.max_megapixels,
    channels=data_config.get('channels', 0),
    pad_to=data_config.get('pad_to', 0),
  )
  _ = found.shape  # raises now what a decoder would raise for every file
  return found


def of_arrays(data_config: ConfigDict, source_shape: Sequence[int]) -> Preprocessing:
  """Returns the preprocessing of a network that was trained on arrays of (H, W, C) `source_shape`.

  An image file of that size is taken as it is; others keep their aspect ratio and are cut to the
  middle part, with Lanczos' filter.
  """
  height, width, channels = source_shape
  options = data_config.get('folder')
  return Preprocessing(
    height,
    width,
    max_megapixels=options.max_megapixels if options else Preprocessing.max_megapixels,
    source_channels=channels,
    channels=data_config.get('channels', 0),
    pad_to=data_config.get('pad_to', 0),
  )


def from_facts(facts: Any) -> Preprocessing:
  """The inverse of `dataclasses.asdict`, for facts read from a file.

  Raises:
    ValueError: they are something else; the message says what, in a few words.
  """
  if not isinstance(facts, Mapping):
    raise ValueError('preprocessing is no object')
  names = [field.name for field in dataclasses.fields(Preprocessing)]
  for name in names:
    value = facts.get(name)
    kinds = str if name in ('resize', 'interpolation') else (int, float)
    whole = name == 'max_megapixels' or not isinstance(value, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not whole:
      raise ValueError(f'preprocessing.{name} is {value!r}')
  found = Preprocessing(**{name: facts[name] for name in names})
  if min(found.height, found.width, found.source_channels, found.max_megapixels) <= 0:
    raise ValueError('preprocessing has a size that is not above 0')
  if found.resize not in RESIZES or found.interpolation not in INTERPOLATIONS:
    raise ValueError('preprocessing has an unknown way to resize')
  try:
    _ = found.shape
  except UserError:
    raise ValueError('preprocessing contradicts itself') from None
  return found


def with_channels(images: np.ndarray, channels: int) -> np.ndarray:
  """Images with another number of channels.

  Args:
    images: The images, uint8 [N, H, W, C], C being 1 (gray), 3 (RGB) or 4 (RGB and opacity).
    channels: 1 (ITU-R BT.601 luma, rounded), 3 (gray repeated) or 0, which changes nothing. What is
      transparent is laid on white.

  Returns:
    uint8 [N, H, W, channels].

  Raises:
    UserError: there is no such conversion.
  """
  present = images.shape[-1]
  if channels in (0, present):
    return images
  if (present, channels) == (1, 3):
    return np.repeat(images, 3, axis=-1)
  if present not in (3, 4) or channels not in (1, 3):
    raise UserError(
      f'--config.data.channels={channels} cannot be made of images with {present} channels; '
      'use 0 to leave them as they are'
    )
  changed = np.empty((*images.shape[:-1], channels), np.uint8)
  for start in range(0, len(images), _ROWS):
    part = images[start : start + _ROWS].astype(np.uint32)
    if present == 4:
      opacity = part[..., 3:]
      part = (part[..., :3] * opacity + 255 * (255 - opacity) + 127) // 255
    if channels == 1:
      part = ((part @ _LUMA + 500) // 1000)[..., None]
    changed[start : start + _ROWS] = part
  return changed


def pad(images: np.ndarray, side: int) -> np.ndarray:
  """Puts uint8 [N, H, W, C] into the middle of black squares of `side` pixels; 0 changes nothing.

  Raises:
    UserError: the images are larger, or the machine's memory is too small for the squares.
  """
  borders = _borders(images.shape[1], images.shape[2], side)
  if not np.any(borders):
    return images
  count, height, width, channels = images.shape
  needed, there = count * side * side * channels, host_memory.available()
  if there is not None and needed > there:
    raise UserError(
      f'--config.data.pad_to={side} makes {needed / 2**30:,.2f} GiB of {count} images of '
      f'{height}x{width} pixels, and this machine has {there / 2**30:,.2f} GiB; use a smaller side'
    )
  return np.pad(images, ((0, 0), *borders, (0, 0)))


def _borders(height: int, width: int, side: int) -> tuple[tuple[int, int], tuple[int, int]]:
  """Pixels to add before and after the rows, and before and after the columns."""
  if not side:
    return (0, 0), (0, 0)
  if max(height, width) > side:
    raise UserError(
      f'--config.data.pad_to={side} is smaller than the images of {height}x{width} pixels; '
      'use 0 to leave them as they are'
    )
  top, left = (side - height) // 2, (side - width) // 2
  return (top, side - height - top), (left, side - width - left)
