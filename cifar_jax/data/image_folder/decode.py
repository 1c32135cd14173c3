"""One image file to uint8 RGB of a wanted size, whatever the file claims to be.

The content decides on the format, not the suffix. Nothing is decoded before its size is known, and
every way in which a file can be wrong ends in one `DamagedImageError`.
"""

import dataclasses
import functools
import hashlib
import io
import pathlib
import stat
import warnings
from typing import Any

import numpy as np

from cifar_jax.errors import UserError

FORMATS = ('JPEG', 'PNG', 'WEBP', 'BMP', 'GIF', 'TIFF')
RESIZES = ('stretch', 'crop', 'pad')
INTERPOLATIONS = ('nearest', 'bilinear', 'lanczos')
THUMBNAIL = 9  # side of the grey picture by which near duplicates are known

_ORIENTATION = 0x0112  # the tag of EXIF
_BYTES_A_PIXEL = 8  # of the largest uncompressed file that is not suspect: 16 bits, four channels


class DamagedImageError(Exception):
  """Says why a file cannot be used, in a few words."""


@dataclasses.dataclass(frozen=True)
class Geometry:
  """How images get their size.

  Attributes:
    height: in pixels.
    width: in pixels.
    resize: 'stretch' ignores the aspect ratio as Keras does; 'crop' keeps it and cuts off what is
      too long, on both sides alike; 'pad' keeps it and adds black bars.
    interpolation: 'nearest' (as Keras 2.0 had it), 'bilinear' or 'lanczos', the latter two with a
      filter as wide as the reduction, so that nothing aliases.
    max_megapixels: a file that says it has more is not decoded.
  """

  height: int
  width: int
  resize: str
  interpolation: str
  max_megapixels: float


@dataclasses.dataclass(frozen=True)
class Decoded:
  """One image.

  Attributes:
    pixels: uint8 [H, W, 3].
    digest: of the bytes of the file, 16 bytes.
    thumbnail: uint8 [9, 9], grey.
  """

  pixels: np.ndarray
  digest: bytes
  thumbnail: np.ndarray


@functools.cache
def pillow() -> Any:
  """The package PIL with the modules used here.

  Raises:
    UserError: it is not installed.
  """
  try:
    import PIL
    from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: F401
  except ImportError:
    raise UserError(
      "image files need Pillow: pip install 'cifar_jax[folders]', or pip install pillow"
    ) from None
  # What is wrong with a file becomes an error here or does not matter; on a terminal it would
  # scroll by a thousand times.
  warnings.filterwarnings('ignore', module=r'PIL\.')
  return PIL


def decode_file(path: pathlib.Path, geometry: Geometry) -> Decoded:
  """Reads and resizes one image file; of an animation its first picture.

  Transparency becomes white, grey three equal channels, 16 bits the upper 8; EXIF's orientation is
  applied.

  Raises:
    DamagedImageError: it is no image of a known format, damaged, empty, too large, or cannot be
      read.
  """
  try:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
      raise DamagedImageError('not a regular file')
    if status.st_size == 0:
      raise DamagedImageError('empty')
    if status.st_size > geometry.max_megapixels * 1e6 * _BYTES_A_PIXEL:
      raise DamagedImageError(f'{status.st_size / 1e6:.0f} MB, too large')
    content = path.read_bytes()
  except OSError as error:
    raise DamagedImageError(f'cannot be read: {error.strerror}') from None
  return decode(content, geometry)


def decode(content: bytes, geometry: Geometry) -> Decoded:
  """As `decode_file`, for the content of a file."""
  Image = pillow().Image
  try:
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
      width, height = image.size
      if width * height > geometry.max_megapixels * 1e6:
        raise DamagedImageError(f'{width} x {height} pixels, too large')
      if geometry.interpolation != 'nearest':
        # A JPEG decoder can leave out detail that the resizing would average away.
        side = 2 * max(geometry.height, geometry.width)
        image.draft(None, (side, side))
      oriented = _rgb(_upright(image))
      thumbnail = oriented.convert('L').resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
      pixels = np.asarray(_fit(oriented, geometry))
      return Decoded(pixels, hashlib.sha256(content).digest()[:16], np.asarray(thumbnail))
  except DamagedImageError:
    raise
  except pillow().UnidentifiedImageError:
    raise DamagedImageError(f'no {", ".join(FORMATS[:-1])} or {FORMATS[-1]}') from None
  except Exception as error:  # decoders raise almost anything on damaged input
    reason = ' '.join(str(error).split())[:100]
    raise DamagedImageError(reason or type(error).__name__) from None


def _upright(image: Any) -> Any:
  """Turns a photograph as its EXIF says; damaged EXIF says nothing."""
  image.load()
  try:
    orientation = image.getexif().get(_ORIENTATION, 1)
  except Exception:  # see above; the pixels are not touched by it
    return image
  return pillow().ImageOps.exif_transpose(image) if orientation in range(2, 9) else image


def _rgb(image: Any) -> Any:
  Image = pillow().Image
  if image.mode == 'F':
    raise DamagedImageError('floating-point pixels have no known range')
  if image.mode.startswith('I'):
    # 16-bit grey; 'I' has 32 bits, of which such files use 16.
    values = np.clip(np.asarray(image).astype(np.int64), 0, 65535) >> 8
    return Image.fromarray(values.astype(np.uint8)).convert('RGB')
  if image.has_transparency_data:
    picture = image.convert('RGBA')
    return Image.alpha_composite(Image.new('RGBA', picture.size, 'white'), picture).convert('RGB')
  return image.convert('RGB')


def _fit(image: Any, geometry: Geometry) -> Any:
  Image = pillow().Image
  filters = Image.Resampling[geometry.interpolation.upper()]
  wanted = (geometry.width, geometry.height)
  width, height = image.size
  if geometry.resize == 'stretch':
    return image.resize(wanted, filters)
  scales = (geometry.width / width, geometry.height / height)
  if geometry.resize == 'crop':
    scale = max(scales)
    half = (geometry.width / scale / 2, geometry.height / scale / 2)
    box = (width / 2 - half[0], height / 2 - half[1], width / 2 + half[0], height / 2 + half[1])
    # Rounding must not reach beyond the image.
    box = (max(box[0], 0), max(box[1], 0), min(box[2], width), min(box[3], height))
    return image.resize(wanted, filters, box=box)
  scale = min(scales)
  inner = (max(1, round(width * scale)), max(1, round(height * scale)))
  picture = Image.new('RGB', wanted)
  place = ((wanted[0] - inner[0]) // 2, (wanted[1] - inner[1]) // 2)
  picture.paste(image.resize(inner, filters), place)
  return picture
