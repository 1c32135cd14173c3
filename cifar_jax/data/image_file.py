"""One image file to the pixels that a network takes, whatever the file claims to be.

The content decides on the format, not the suffix. Nothing is decoded before its size is known, and
every way in which a file can be wrong ends in one `DamagedImageError`. What comes out follows from
the bytes and a `Preprocessing` alone; training, evaluation, predictions and the web page share it.
"""

import contextlib
import dataclasses
import functools
import io
import math
import pathlib
import stat
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cifar_jax.data.preprocessing import Preprocessing, with_channels

# What Pillow decodes in code of its own or of well-kept libraries; others would only widen what a
# hostile file can reach.
FORMATS = ('JPEG', 'PNG', 'WEBP', 'BMP', 'GIF', 'TIFF', 'PPM')
THUMBNAIL = 9  # side of the gray image by which near duplicates are known
# Pixels of a row or column, as many as a JPEG file can have. Pillow keeps each row apart, so that a
# column of many million pixels takes far more memory than its area suggests.
MAX_SIDE = 65_535

_OF_PHONES = (b'heic', b'heix', b'mif1', b'msf1', b'avif')  # brands of ISO/IEC 23008-12
_ORIENTATION = 0x0112  # the tag of EXIF
_BYTES_A_PIXEL = 8  # of the largest uncompressed file that is not suspect: 16 bits, four channels
_STRIP = 1 << 22  # pixels that are converted at a time, which bounds the memory in use


class DamagedImageError(Exception):
  """Says why a file cannot be used, in a few words."""


@dataclasses.dataclass(frozen=True)
class Decoded:
  """One image.

  Attributes:
    pixels: The pixels, uint8 [H, W, C].
    thumbnail: A gray reduction of the image, uint8 [9, 9].
  """

  pixels: np.ndarray
  thumbnail: np.ndarray


@functools.cache
def pillow() -> Any:
  """The package PIL with the modules used here."""
  import PIL
  from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: F401

  Image.init()  # knows all formats afterwards, as `formats` demands
  # What is wrong with a file becomes an error here or does not matter; on a terminal it would
  # scroll by a thousand times.
  warnings.filterwarnings('ignore', module=r'PIL\.')
  return PIL


def decode_file(path: pathlib.Path, preprocessing: Preprocessing) -> Decoded:
  """Decodes and resizes an image file, see `decode`.

  Raises:
    DamagedImageError: it is no image of a known format, damaged, empty, too large, no regular file,
      or cannot be read.
  """
  return decode(read_file(path, preprocessing.max_megapixels), preprocessing)


def read_file(path: pathlib.Path, max_megapixels: float) -> bytes:
  """The content of a regular file, which is not read if it is too large to be an image of so many
  pixels; raises DamagedImageError as `decode_file` does.
  """
  try:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe would wait for ever
      raise DamagedImageError('not a regular file')
    if status.st_size == 0:
      raise DamagedImageError('empty')
    if status.st_size > most_bytes(max_megapixels):
      raise DamagedImageError(f'{status.st_size / 1e6:.0f} MB, too large')
    return path.read_bytes()
  except OSError as error:
    raise DamagedImageError(f'cannot be read: {error.strerror}') from None
  except ValueError:
    raise DamagedImageError('cannot be read: a NUL in its name') from None


def most_bytes(max_megapixels: float) -> int:
  """Size of the largest file that is not suspect if an image may have so many pixels."""
  return int(max_megapixels * 1e6 * _BYTES_A_PIXEL)


def decode(content: bytes, preprocessing: Preprocessing) -> Decoded:
  """Decodes and resizes the content of an image file; of an animation its first image.

  EXIF's orientation is applied and transparency laid on white, unless the network takes four
  channels. Sixteen bits become the upper 8, as Pillow reads color of 16 bits. Files of 32 bits do
  not say how white white is: integers up to 255 count as 8 bits and up to 65535 as 16,
  floating-point numbers up to 1 and up to 255 as white at those; others are refused.

  Raises:
    DamagedImageError: it is no image of a known format, damaged, or too large.
  """
  if preprocessing.source_channels not in (1, 3, 4):
    raise DamagedImageError(
      f'the network takes images of {preprocessing.source_channels} channels, which no file has'
    )
  with _opened(content, preprocessing.max_megapixels) as image:
    if preprocessing.interpolation != 'nearest':
      # A JPEG decoder can leave out detail that the resizing would average away.
      side = 2 * max(preprocessing.height, preprocessing.width)
      image.draft(None, (side, side))
    image.load()
    colors = _colors(
      image, _upright(image), 'RGBA' if preprocessing.source_channels == 4 else 'RGB'
    )
    box = pillow().Image.Resampling.BOX
    thumbnail = np.asarray(colors.convert('L').resize((THUMBNAIL, THUMBNAIL), box))
    pixels = np.asarray(_fit(colors, preprocessing))[None]
    if preprocessing.source_channels == 1:
      pixels = with_channels(pixels, 1)
    pixels = preprocessing.finish(pixels)[0]
  return Decoded(pixels, thumbnail)


def fit_arrays(images: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
  """Makes inputs of a network of pixels that are decoded already.

  Args:
    images: The pixels, uint8 [N, height, width, channels]; channels are those that the network was
      trained on, or both are 1, 3 or 4.
    preprocessing: How image files became the network's inputs.

  Returns:
    uint8 [N, H, W, C], what `decode` makes of the same images in files without loss.
  """
  wanted = preprocessing.source_channels
  if images.shape[1:3] != (preprocessing.height, preprocessing.width):
    # As of files: resized as color, whatever becomes of it.
    colors = map(pillow().Image.fromarray, _recolored(images, 4 if wanted == 4 else 3))
    images = np.stack([np.asarray(_fit(image, preprocessing)) for image in colors])
  return preprocessing.finish(_recolored(images, wanted))


def _recolored(images: np.ndarray, channels: int) -> np.ndarray:
  """Images of 1, 3 or 4 channels with another of these numbers of channels."""
  if channels != 4 or images.shape[-1] == 4:
    return with_channels(images, channels)
  return np.concatenate([with_channels(images, 3), np.full_like(images[..., :1], 255)], axis=-1)


def reduced_size(content: bytes, side: int, max_megapixels: float) -> tuple[int, int]:
  """Height and width of an image, turned as its EXIF says, reduced in proportion until neither is
  more than `side` pixels; raises DamagedImageError as `decode` does.
  """
  with _opened(content, max_megapixels) as image:
    width, height = image.size
    if _orientation(image) > 4:  # turned by a quarter
      width, height = height, width
  scale = min(1.0, side / max(width, height))
  return max(1, round(height * scale)), max(1, round(width * scale))


@contextlib.contextmanager
def _opened(content: bytes, max_megapixels: float) -> Iterator[Any]:
  """The image, of which only the header has been read; all errors become DamagedImageError."""
  PIL = pillow()
  try:
    with PIL.Image.open(io.BytesIO(content), formats=FORMATS) as image:
      width, height = image.size
      if width * height > max_megapixels * 1e6 or max(width, height) > MAX_SIDE:
        raise DamagedImageError(f'{width} x {height} pixels, too large')
      yield image
  except DamagedImageError:
    raise
  except PIL.UnidentifiedImageError:
    if content[4:8] == b'ftyp' and content[8:12] in _OF_PHONES:
      raise DamagedImageError('HEIC or AVIF, convert it to JPEG first') from None
    raise DamagedImageError(f'no picture in {", ".join(FORMATS[:-1])} or {FORMATS[-1]}') from None
  except Exception as error:  # decoders raise almost anything on damaged input
    reason = ' '.join(str(error).split())[:100]
    raise DamagedImageError(reason or type(error).__name__) from None


def _orientation(image: Any) -> int:
  """1 to 8 as EXIF numbers them; damaged EXIF says nothing."""
  try:
    found = image.getexif().get(_ORIENTATION, 1)
  except Exception:  # see above; the pixels are not touched by it
    return 1
  return found if found in range(1, 9) else 1


def _upright(image: Any) -> Any:
  """Turns an image, which has been decoded, as its EXIF says."""
  if _orientation(image) == 1:
    return image
  return pillow().ImageOps.exif_transpose(image)


def _colors(file: Any, image: Any, mode: str) -> Any:
  """An image of any mode in 8 bits, 'RGB' or 'RGBA', converted strip by strip.

  Args:
    file: The image as it was opened.
    image: The same image, upright.
    mode: 'RGB' lays transparency on white.
  """
  if image.mode == mode and not image.has_transparency_data:
    return image
  if image.mode.startswith('I') or image.mode == 'F':
    levels = _levels(file, image)

    def converted(strip: Any) -> Any:
      return levels(strip).convert(mode)
  elif image.has_transparency_data:

    def converted(strip: Any) -> Any:
      strip = strip.convert('RGBA')
      if mode == 'RGBA':
        return strip
      white = pillow().Image.new('RGBA', strip.size, 'white')
      return pillow().Image.alpha_composite(white, strip).convert(mode)
  else:

    def converted(strip: Any) -> Any:
      return strip.convert(mode)

  width, height = image.size
  rows = max(1, _STRIP // width)
  if rows >= height:
    return converted(image)
  whole = pillow().Image.new(mode, image.size)
  for top in range(0, height, rows):
    whole.paste(converted(image.crop((0, top, width, min(top + rows, height)))), (0, top))
  return whole


def _levels(file: Any, image: Any) -> Callable[[Any], Any]:
  """(strip of an image of more than 8 bits) -> the same in mode 'L', see `decode`."""
  low, high = image.getextrema() if image.mode in ('I', 'F') else (0, 65535)
  if image.mode == 'F':
    if not (math.isfinite(low) and math.isfinite(high) and low >= 0 and high <= 255):
      raise DamagedImageError(
        f'floating-point pixels from {low:g} to {high:g}, neither 0 to 1 nor 0 to 255'
      )
    factor = np.float32(255 if high <= 1 else 1)

    def scaled(strip: Any) -> Any:
      values = np.rint(np.asarray(strip) * factor)
      if np.isnan(values).any():  # which the extremes above need not show
        raise DamagedImageError('floating-point pixels that are no numbers')
      return _gray(values)

    return scaled
  if low < 0 or high > 65535:
    raise DamagedImageError(f'pixels from {low} to {high}, neither 0 to 255 nor 0 to 65535')
  # PPM files say how white white is, and Pillow makes that 65535.
  shift = 8 if high > 255 or file.format == 'PPM' else 0
  # As PNG has it, one value may stand for transparency.
  transparent = image.info.get('transparency')

  def level(strip: Any) -> Any:
    values = np.asarray(strip)
    found = values >> shift
    return _gray(np.where(values == transparent, 255, found) if transparent is not None else found)

  return level


def _gray(values: np.ndarray) -> Any:
  return pillow().Image.fromarray(values.astype(np.uint8))


def _fit(image: Any, preprocessing: Preprocessing) -> Any:
  Image = pillow().Image
  filters = Image.Resampling[preprocessing.interpolation.upper()]
  wanted = (preprocessing.width, preprocessing.height)
  width, height = image.size
  if preprocessing.resize == 'stretch':
    return image.resize(wanted, filters)
  scales = (preprocessing.width / width, preprocessing.height / height)
  if preprocessing.resize == 'crop':
    scale = max(scales)
    half = (preprocessing.width / scale / 2, preprocessing.height / scale / 2)
    box = (width / 2 - half[0], height / 2 - half[1], width / 2 + half[0], height / 2 + half[1])
    # Rounding must not reach beyond the image.
    box = (max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height))
    return image.resize(wanted, filters, box=box)
  scale = min(scales)
  inner = (max(1, round(width * scale)), max(1, round(height * scale)))
  canvas = Image.new(image.mode, wanted)
  corner = ((wanted[0] - inner[0]) // 2, (wanted[1] - inner[1]) // 2)
  canvas.paste(image.resize(inner, filters), corner)
  return canvas
