"""Pictures from outside as the arrays that a network takes: files, folders, addresses, stdin.

What comes from outside may be damaged, huge or no picture at all. Its size is bounded before it is
read and its pixels are counted before they are decoded; each picture that cannot be used is named
and the others go on.
"""

import contextlib
import dataclasses
import io
import pathlib
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cifar_jax.report.extras import require

MOST_BYTES = 32 * 2**20  # of a file
MOST_PIXELS = 50_000_000  # of a picture
_SECONDS = 20  # that an address may take to answer
# What Pillow decodes in code of its own or of well-kept libraries; others would only widen what a
# hostile file can reach.
_FORMATS = ('BMP', 'GIF', 'JPEG', 'PNG', 'PPM', 'TIFF', 'WEBP')


class UnreadableError(Exception):
  """A picture that cannot be used; the message says why, without its name."""


@dataclasses.dataclass(frozen=True)
class Picture:
  """A picture of the user's.

  Attributes:
    name: as the user gave it; in a folder, its path.
    image: uint8 [H, W, C] of the size that was asked for, or None if it cannot be used.
    problem: why it cannot, or ''.
  """

  name: str
  image: np.ndarray | None
  problem: str = ''


def read_all(places: Sequence[str], image_shape: tuple[int, int, int]) -> Iterator[Picture]:
  """Reads what a command line names, one after the other.

  Args:
    places: paths of files and folders (all files in them, at any depth), http and https addresses,
      '-' for standard input, whose name is '-' too.
    image_shape: (H, W, C) of the images wanted.
  """
  for name in _names(places):
    try:
      yield Picture(name, decode(read_bytes(name), image_shape))
    except UnreadableError as error:
      yield Picture(name, None, str(error))


def decode(content: bytes, image_shape: tuple[int, int, int]) -> np.ndarray:
  """The bytes of an image file as uint8 [H, W, C] of a given shape.

  It is turned as its EXIF data say, laid on white where it is transparent, cut to the middle part
  of the right proportions and resized with Lanczos' filter. Of an animation it is the first frame.

  Args:
    content: a BMP, GIF, JPEG, PNG, PPM, TIFF or WebP file of any size and mode.
    image_shape: (H, W, C), C being 1 or 3.

  Raises:
    UnreadableError: it is none of them, damaged, or has more than MOST_PIXELS pixels.
  """
  pillow, operations = require('look', 'PIL.Image', 'PIL.ImageOps')
  height, width, channels = image_shape
  with _reported_damage(pillow):
    image = _opened(pillow, content)
    image.draft('RGB', (4 * width, 4 * height))  # a JPEG is decoded no larger than it is needed
    image = _opaque(pillow, operations.exif_transpose(image))
    image = image.convert('L' if channels == 1 else 'RGB')
    image = operations.fit(image, (width, height), pillow.Resampling.LANCZOS)
  return np.asarray(image, np.uint8).reshape(height, width, channels)


def reduced_size(content: bytes, side: int) -> tuple[int, int]:
  """Height and width of a picture, turned as its EXIF data say, reduced in proportion until neither
  is more than `side` pixels; raises UnreadableError as `decode` does.
  """
  pillow, tags = require('look', 'PIL.Image', 'PIL.ExifTags')
  with _reported_damage(pillow):
    image = _opened(pillow, content)
    width, height = image.size
    if image.getexif().get(tags.Base.Orientation, 1) > 4:  # turned by a quarter
      width, height = height, width
  scale = min(1.0, side / max(width, height))
  return max(1, round(height * scale)), max(1, round(width * scale))


def _opened(pillow: Any, content: bytes) -> Any:
  """The picture, of which only the header has been read."""
  pillow.init()  # knows all formats afterwards, as `formats` demands
  image = pillow.open(io.BytesIO(content), formats=_FORMATS)
  if image.width * image.height > MOST_PIXELS:
    raise UnreadableError(
      f'it has {image.width} x {image.height} pixels, more than {MOST_PIXELS:,}'
    )
  return image


@contextlib.contextmanager
def _reported_damage(pillow: Any) -> Iterator[None]:
  """Turns what decoders raise into UnreadableError; odd metadata are passed over in silence."""
  try:
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      yield
  except UnreadableError:
    raise
  except pillow.UnidentifiedImageError:
    raise UnreadableError('it is no picture of a known kind') from None
  except pillow.DecompressionBombError:
    raise UnreadableError(f'it has more than {MOST_PIXELS:,} pixels') from None
  # Decoders raise many kinds for damaged files; what they have in common is that it is damaged.
  except Exception as error:
    raise UnreadableError(f'it is damaged ({type(error).__name__})') from None


def _opaque(pillow: Any, image: Any) -> Any:
  """Laid on white; pictures of 16 or more bits a pixel scaled to 8."""
  if image.mode.startswith('I') or image.mode == 'F':
    values = np.asarray(image, np.float64)
    if image.mode.startswith('I;16'):
      top = 65535.0
    else:  # such files do not say how white white is
      top = 65535.0 if values.max() > 255 else 255.0 if values.max() > 1 else 1.0
    return pillow.fromarray(np.clip(np.round(values / top * 255), 0, 255).astype(np.uint8))
  if image.mode in ('RGBA', 'LA', 'PA', 'RGBa', 'La') or 'transparency' in image.info:
    image = image.convert('RGBA')
    white = pillow.new('RGBA', image.size, 'white')
    return pillow.alpha_composite(white, image)
  return image


def read_bytes(place: str) -> bytes:
  """The content of a file, of an http or https address, or of standard input for '-'.

  Raises:
    UnreadableError: it cannot be had, or is larger than MOST_BYTES.
  """
  if place == '-':
    return _bounded(sys.stdin.buffer)
  if place.startswith(('http://', 'https://')):
    return _download(place)
  return _read(pathlib.Path(place))


def _names(places: Sequence[str]) -> Iterator[str]:
  """The places, with the files in them for folders."""
  for place in places:
    if place != '-' and pathlib.Path(place).is_dir():
      files = sorted(str(path) for path in pathlib.Path(place).rglob('*') if path.is_file())
      yield from files or [place]
    else:
      yield place


def _read(file: pathlib.Path) -> bytes:
  if file.is_dir():
    raise UnreadableError('the folder has no files')
  try:
    with file.open('rb') as stream:
      return _bounded(stream)
  except OSError as error:
    raise UnreadableError(error.strerror or type(error).__name__) from None


def _download(address: str) -> bytes:
  request = urllib.request.Request(address, headers={'User-Agent': 'cifar_jax'})
  try:
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
      return _bounded(answer)
  except urllib.error.HTTPError as error:
    raise UnreadableError(f'the server answered {error.code} {error.reason}') from None
  except (OSError, ValueError) as error:
    reason = getattr(error, 'reason', None) or error
    raise UnreadableError(f'it cannot be fetched ({reason})') from None


def _bounded(stream: Any) -> bytes:
  content = stream.read(MOST_BYTES + 1)
  if len(content) > MOST_BYTES:
    raise UnreadableError(f'it is larger than {MOST_BYTES // 2**20} MiB')
  return content
