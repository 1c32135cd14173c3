"""Files of all kinds to pixels, and damaged ones to a reason."""

import io
import os
import struct
import zlib

import numpy as np
import pytest

pytest.importorskip('PIL')
from PIL import Image

from cifar_jax.data import image_file
from cifar_jax.data.image_file import DamagedImageError, decode, decode_file, reduced_size
from cifar_jax.data.preprocessing import Preprocessing
from tests.helpers.picture_files import picture


def geometry(
  height=20, width=30, resize='stretch', interpolation='nearest', limit=1.0, **options
) -> Preprocessing:
  return Preprocessing(height, width, resize, interpolation, limit, **options)


def content(image: Image.Image, kind: str, **options) -> bytes:
  buffer = io.BytesIO()
  image.save(buffer, kind, **options)
  return buffer.getvalue()


@pytest.mark.parametrize('kind', ['PNG', 'BMP', 'TIFF', 'PPM'])
def test_lossless_formats_give_their_pixels(kind) -> None:
  image = picture(1)
  assert np.array_equal(decode(content(image, kind), geometry()).pixels, np.asarray(image))


@pytest.mark.parametrize(('kind', 'off'), [('JPEG', 10), ('WEBP', 10), ('GIF', 25)])
def test_lossy_formats_give_about_their_pixels(kind, off) -> None:
  image = picture(1)
  pixels = decode(content(image, kind), geometry()).pixels
  assert pixels.shape == (20, 30, 3)
  assert np.abs(pixels.astype(int) - np.asarray(image)).mean() < off


@pytest.mark.parametrize(
  ('image', 'color'),
  [
    (Image.new('L', (4, 4), 77), (77, 77, 77)),
    (Image.new('1', (4, 4), 1), (255, 255, 255)),
    (Image.new('LA', (4, 4), (77, 0)), (255, 255, 255)),
    (Image.new('RGBA', (4, 4), (10, 20, 30, 255)), (10, 20, 30)),
    (Image.new('RGBA', (4, 4), (0, 0, 0, 51)), (204, 204, 204)),  # a fifth of black on white
    (Image.new('P', (4, 4), 0), (0, 0, 0)),
    (Image.fromarray(np.full((4, 4), 0x1234, np.uint16)), (0x12, 0x12, 0x12)),
  ],
)
def test_modes_become_rgb(image, color) -> None:
  pixels = decode(content(image, 'PNG'), geometry(4, 4)).pixels
  assert (pixels == color).all()


def test_cmyk() -> None:
  """No ink is white, all cyan has no red (the format stores the complement)."""
  image = Image.new('CMYK', (8, 8), (255, 0, 0, 0))
  pixels = decode(content(image, 'JPEG', quality=100), geometry(8, 8)).pixels
  assert np.abs(pixels.astype(int) - (0, 255, 255)).max() < 4


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation(orientation) -> None:
  """The eight ways to hold a camera, by the definition of the tag: where row 0 and column 0 are."""
  upright = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
  stored = {
    1: upright,
    2: upright[:, ::-1],
    3: upright[::-1, ::-1],
    4: upright[::-1],
    5: upright.T,
    6: np.rot90(upright),  # the viewer turns it clockwise
    7: upright.T[::-1, ::-1],
    8: np.rot90(upright, -1),
  }[orientation]
  image = Image.fromarray(np.ascontiguousarray(stored))
  exif = Image.Exif()
  exif[0x0112] = orientation
  pixels = decode(content(image, 'PNG', exif=exif), geometry(2, 3)).pixels
  assert np.array_equal(pixels[..., 0], upright)


def test_nearest_is_that_of_keras() -> None:
  """Keras 2.0 called Pillow's resize, whose pixel (y, x) is that under its centre."""
  image = picture(2, 37, 53)
  rows, columns = (np.arange(150) + 0.5) * 37 / 150, (np.arange(150) + 0.5) * 53 / 150
  wanted = np.asarray(image)[rows.astype(int)[:, None], columns.astype(int)]
  assert np.array_equal(decode(content(image, 'PNG'), geometry(150, 150)).pixels, wanted)


def test_crop_takes_the_middle_and_pad_adds_bars() -> None:
  image = np.zeros((10, 30, 3), np.uint8)
  image[:, 10:20], image[:, 20:] = 100, 200
  stored = content(Image.fromarray(image), 'PNG')
  assert (decode(stored, geometry(5, 5, 'crop')).pixels == 100).all()
  padded = decode(stored, geometry(30, 30, 'pad')).pixels
  assert np.array_equal(padded[10:20], image)
  assert not padded[:10].any()
  assert not padded[20:].any()


@pytest.mark.parametrize('resize', ['stretch', 'crop', 'pad'])
@pytest.mark.parametrize('interpolation', ['nearest', 'bilinear', 'lanczos'])
def test_every_size_is_the_wanted_one(resize, interpolation) -> None:
  for size in [(1, 1), (1, 300), (301, 2), (19, 23)]:
    pixels = decode(
      content(picture(3, *size), 'JPEG'), geometry(16, 24, resize, interpolation)
    ).pixels
    assert pixels.shape == (16, 24, 3)


def test_a_large_jpeg_is_about_the_same_decoded_smaller() -> None:
  """Bilinear decodes JPEG at a lower resolution; the average over many pixels hardly changes."""
  image = picture(4, 600, 800)
  fine = np.asarray(image.resize((20, 16), Image.Resampling.BILINEAR)).astype(int)
  pixels = decode(
    content(image, 'JPEG', quality=95), geometry(16, 20, 'stretch', 'bilinear')
  ).pixels
  assert np.abs(pixels - fine).max() <= 4


def bomb(width: int, height: int) -> bytes:
  """A PNG of a few bytes that says it is huge."""

  def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

  head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
  start = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head)
  return start + chunk(b'IDAT', zlib.compress(bytes(1000))) + chunk(b'IEND', b'')


@pytest.mark.parametrize(
  ('stored', 'reason'),
  [
    (b'not an image', 'no picture in JPEG, PNG, WEBP, BMP, GIF, TIFF or PPM'),
    (content(picture(5), 'PNG')[:200], 'truncated|broken'),
    (content(picture(5), 'JPEG')[:300], '(?i)truncated'),
    (content(picture(5), 'TGA'), 'no picture in'),  # a format that nobody asked for
    (
      b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n',
      'no picture in',
    ),  # runs a program
    (b'\0\0\0\x18ftypheic\0\0\0\0mif1heic' + bytes(99), 'HEIC or AVIF, convert it to JPEG first'),
    (bomb(2000, 1000), '2000 x 1000 pixels, too large'),
    (bomb(60000, 60000), 'pixels'),
  ],
)
def test_reasons(stored, reason) -> None:
  with pytest.raises(DamagedImageError, match=reason):
    decode(stored, geometry())


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='this system has no pipes with names')
def test_files_that_are_none(tmp_path) -> None:
  """A pipe would wait for ever."""
  (tmp_path / 'empty.jpg').write_bytes(b'')
  os.mkfifo(tmp_path / 'pipe.jpg')
  with open(tmp_path / 'huge.jpg', 'wb') as huge:
    huge.truncate(9_000_000)
  os.symlink('nowhere', tmp_path / 'link.jpg')
  for name, reason in [
    ('empty', 'empty'),
    ('pipe', 'not a regular file'),
    ('huge', '9 MB, too large'),
    ('link', 'cannot be read: No such file'),
  ]:
    with pytest.raises(DamagedImageError, match=reason):
      decode_file(tmp_path / f'{name}.jpg', geometry())


def half(left, right, mode: str):
  """A picture of 64 x 64 whose left half has one color and whose right half another."""
  image = Image.new(mode, (64, 64), right)
  image.paste(left, (0, 0, 32, 64))
  return image


@pytest.mark.parametrize(
  ('image', 'kind', 'left', 'right'),
  [
    (half((255, 0, 0), (0, 0, 255), 'RGB'), 'PNG', (255, 0, 0), (0, 0, 255)),
    (half((255, 0, 0), (0, 0, 255), 'RGB'), 'BMP', (255, 0, 0), (0, 0, 255)),
    (half((255, 0, 0), (0, 0, 255), 'RGB'), 'WEBP', (255, 0, 0), (0, 0, 255)),
    (half(0, 200, 'L'), 'PNG', (0, 0, 0), (200, 200, 200)),
    (half((255, 0, 0, 255), (0, 0, 255, 0), 'RGBA'), 'PNG', (255, 0, 0), (255, 255, 255)),
    (half((0, 255), (0, 0), 'LA'), 'PNG', (0, 0, 0), (255, 255, 255)),
    (half(65535, 32768, 'I;16'), 'PNG', (255, 255, 255), (128, 128, 128)),
    (half(1, 0, '1'), 'PNG', (255, 255, 255), (0, 0, 0)),
    (half((0, 255, 255, 0), (255, 255, 0, 0), 'CMYK'), 'JPEG', (255, 0, 0), (0, 0, 255)),
    (half((0, 255, 255, 0), (255, 255, 0, 0), 'CMYK'), 'TIFF', (255, 0, 0), (0, 0, 255)),
    (half(1.0, 0.5, 'F'), 'TIFF', (255, 255, 255), (128, 128, 128)),
    (half((255, 0, 0), (0, 0, 255), 'RGB').quantize(4), 'GIF', (255, 0, 0), (0, 0, 255)),
  ],
)
def test_modes_and_kinds(image, kind, left, right) -> None:
  options = {'lossless': True} if kind == 'WEBP' else {'quality': 100} if kind == 'JPEG' else {}
  found = decode(content(image, kind, **options), Preprocessing(8, 8)).pixels.astype(int)
  assert found.shape == (8, 8, 3)
  assert np.abs(found[:, 1] - left).max() <= 8
  assert np.abs(found[:, 6] - right).max() <= 8


def test_gray_networks_get_one_channel() -> None:
  found = decode(
    content(half((255, 0, 0), (255, 255, 255), 'RGB'), 'PNG'),
    Preprocessing(8, 8, source_channels=1),
  ).pixels
  assert found.shape == (8, 8, 1)
  assert found[0, 0, 0] == 76  # ITU-R BT.601
  assert found[0, 7, 0] == 255


def test_orientation_of_cameras_is_followed() -> None:
  """Orientation 6: the camera was turned, so the picture is shown turned right by a quarter."""
  exif = Image.Exif()
  exif[0x0112] = 6
  stored = content(half(0, 255, 'L'), 'PNG', exif=exif.tobytes())
  found = decode(stored, Preprocessing(8, 8, source_channels=1)).pixels[..., 0]
  assert found[0].max() == 0  # the left half is the upper one now
  assert found[7].min() == 255


def test_the_middle_is_kept() -> None:
  image = Image.new('L', (300, 100), 0)
  image.paste(255, (100, 0, 200, 100))
  assert decode(content(image, 'PNG'), Preprocessing(10, 10)).pixels.min() > 200
  assert reduced_size(content(image, 'PNG'), 150, 64.0) == (50, 150)


def gray_of(values: np.ndarray, kind: str = 'TIFF', **options) -> np.ndarray:
  """What is decoded of an image of these values, [H, W], gray."""
  height, width = values.shape
  found = decode(content(Image.fromarray(values), kind, **options), geometry(height, width)).pixels
  assert (found == found[..., :1]).all()
  return found[..., 0]


LEVELS = np.array([[0, 1, 40], [128, 220, 255]])


def test_sixteen_bits_keep_the_upper_eight() -> None:
  """As Pillow does with color of 16 bits, which is written here by hand."""
  values = np.array([[0x0000, 0x00FF, 0x0100], [0x80FF, 0xFF00, 0xFFFF]], np.uint16)
  expected = [[0, 0, 1], [128, 255, 255]]
  for kind in ('PNG', 'TIFF', 'PPM'):
    assert gray_of(values, kind).tolist() == expected

  def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))

  rows = b''.join(b'\0' + row.astype('>u2').repeat(3).tobytes() for row in values)
  color = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 3, 2, 16, 2, 0, 0, 0))
  color += chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')
  assert decode(color, geometry(2, 3)).pixels[..., 0].tolist() == expected


def test_thirty_two_bits_have_the_range_that_their_values_show() -> None:
  assert np.array_equal(gray_of(LEVELS.astype(np.int32)), LEVELS)
  assert np.array_equal(gray_of((LEVELS * 257).astype(np.int32)), LEVELS)
  assert np.array_equal(gray_of((LEVELS / 255).astype(np.float32)), LEVELS)
  assert np.array_equal(gray_of(LEVELS.astype(np.float32)), LEVELS)
  # PGM says how white white is: 65535 here, so that these are all but black.
  dark = b'P5\n3 2\n65535\n' + LEVELS.astype('>u2').tobytes()
  assert not decode(dark, geometry(2, 3)).pixels.any()


@pytest.mark.parametrize(
  'values',
  [
    np.array([[0, 65536]], np.int32),
    np.array([[-1, 200]], np.int32),
    np.array([[0, 256]], np.float32),
    np.array([[-0.5, 0.5]], np.float32),
    np.array([[np.nan, 0.5]], np.float32),
    np.array([[0.5, np.nan, 0.25]], np.float32),
    np.array([[np.inf, 0.5]], np.float32),
  ],
)
def test_values_of_no_known_range_are_refused(values) -> None:
  with pytest.raises(
    DamagedImageError, match=r'neither 0 to (1 nor 0 to )?255|that are no numbers'
  ):
    gray_of(values)


def test_a_transparent_value_of_sixteen_bits_is_white() -> None:
  values = np.array([[0x1234, 0x1235]], np.uint16)
  assert gray_of(values, 'PNG', transparency=0x1234).tolist() == [[255, 0x12]]


def test_opacity_is_kept_where_the_network_takes_it() -> None:
  image = picture(6).convert('RGBA')
  image.putalpha(picture(7).convert('L'))
  found = decode(content(image, 'PNG'), geometry(source_channels=4)).pixels
  assert np.array_equal(found, np.asarray(image))
  opaque = decode(content(picture(6), 'PNG'), geometry(source_channels=4)).pixels
  assert np.array_equal(opaque, np.asarray(picture(6).convert('RGBA')))
  with pytest.raises(DamagedImageError, match='takes images of 5 channels, which no file has'):
    decode(content(image, 'PNG'), geometry(source_channels=5))


@pytest.mark.parametrize('mode', ['1', 'L', 'P', 'CMYK', 'RGBA', 'LA', 'I', 'F', 'I;16'])
def test_large_images_are_converted_strip_by_strip(mode, monkeypatch) -> None:
  gray = picture(8, 23, 31).convert('L')
  image = {
    'I;16': lambda: Image.fromarray(np.asarray(gray).astype(np.uint16) * 250),
    'RGBA': lambda: Image.merge('RGBA', [*picture(9, 23, 31).split(), gray]),
    'LA': lambda: Image.merge('LA', [gray, gray]),
  }.get(mode, lambda: picture(8, 23, 31).convert(mode))()
  stored = content(image, 'TIFF')
  whole = decode(stored, geometry(23, 31)).pixels
  monkeypatch.setattr(image_file, '_STRIP', 100)  # three rows at a time
  assert np.array_equal(decode(stored, geometry(23, 31)).pixels, whole)


def test_a_border_and_channels_come_last() -> None:
  found = decode(content(picture(1), 'PNG'), geometry(channels=1, pad_to=34)).pixels
  assert found.shape == (34, 34, 1)
  luma = np.asarray(picture(1)).astype(int) @ [299, 587, 114]
  assert np.array_equal(found[7:27, 2:32, 0], (luma + 500) // 1000)
  assert np.count_nonzero(found) <= 20 * 30


@pytest.mark.parametrize('size', [(1, 65_536), (65_536, 1), (1, 49_999_999)])
def test_sides_are_bounded(size) -> None:
  """Pillow keeps a pointer a row: 50 million rows of one pixel took 2.3 GB."""
  with pytest.raises(DamagedImageError, match='pixels, too large'):
    decode(bomb(*size), geometry(limit=64.0))
