"""Pictures of every kind, and files that are none."""

import http.server
import io
import struct
import threading
import zlib

import numpy as np
import pytest

from cifar_jax.inference import pictures

Image = pytest.importorskip('PIL.Image')


def encoded(image, kind: str = 'PNG', **options) -> bytes:
  buffer = io.BytesIO()
  image.save(buffer, kind, **options)
  return buffer.getvalue()


def half(left, right, mode: str):
  """A picture of 64 x 64 whose left half has one colour and whose right half another."""
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
  found = pictures.decode(encoded(image, kind, **options), (8, 8, 3)).astype(int)
  assert found.shape == (8, 8, 3)
  assert np.abs(found[:, 1] - left).max() <= 8
  assert np.abs(found[:, 6] - right).max() <= 8


def test_grey_networks_get_one_channel() -> None:
  found = pictures.decode(encoded(half((255, 0, 0), (255, 255, 255), 'RGB')), (8, 8, 1))
  assert found.shape == (8, 8, 1)
  assert found[0, 0, 0] == 76  # ITU-R BT.601
  assert found[0, 7, 0] == 255


def test_orientation_of_cameras_is_followed() -> None:
  """Orientation 6: the camera was turned, so the picture is shown turned right by a quarter."""
  exif = Image.Exif()
  exif[0x0112] = 6
  content = encoded(half(0, 255, 'L'), exif=exif.tobytes())
  found = pictures.decode(content, (8, 8, 1))[..., 0]
  assert found[0].max() == 0  # the left half is the upper one now
  assert found[7].min() == 255


def test_the_middle_is_kept() -> None:
  image = Image.new('L', (300, 100), 0)
  image.paste(255, (100, 0, 200, 100))
  assert pictures.decode(encoded(image), (10, 10, 1)).min() > 200
  assert pictures.reduced_size(encoded(image), 150) == (50, 150)


def bomb(side: int) -> bytes:
  """A PNG of a few hundred bytes that claims side x side pixels."""

  def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

  header = struct.pack('>IIBBBBB', side, side, 8, 2, 0, 0, 0)
  return (
    b'\x89PNG\r\n\x1a\n'
    + chunk(b'IHDR', header)
    + chunk(b'IDAT', zlib.compress(bytes(1000)))
    + chunk(b'IEND', b'')
  )


GOOD = encoded(half((255, 0, 0), (0, 0, 255), 'RGB'))
BAD = {
  'empty': (b'', 'no picture'),
  'text': (b'hello, world\n' * 50, 'no picture'),
  'cut short': (GOOD[: len(GOOD) // 2], 'damaged'),
  'a bomb': (bomb(60_000), 'pixels'),
  'a middling bomb': (bomb(8_000), 'pixels'),
  'EPS': (b'%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n', 'no picture'),
}


@pytest.mark.parametrize('name', BAD)
def test_what_is_no_picture(name: str) -> None:
  content, word = BAD[name]
  with pytest.raises(pictures.UnreadableError, match=word):
    pictures.decode(content, (8, 8, 3))


def test_files_folders_and_what_is_missing(tmp_path) -> None:
  (tmp_path / 'a' / 'b').mkdir(parents=True)
  (tmp_path / 'empty').mkdir()
  (tmp_path / 'a' / 'one.png').write_bytes(GOOD)
  (tmp_path / 'a' / 'b' / 'two.png').write_bytes(GOOD)
  (tmp_path / 'a' / 'notes.txt').write_text('no picture')
  places = [str(tmp_path / name) for name in ('a', 'nowhere.png', 'empty')]
  found = {
    picture.name.removeprefix(f'{tmp_path}/'): picture.problem
    for picture in pictures.read_all(places, (8, 8, 3))
  }
  assert [name for name, problem in found.items() if not problem] == ['a/b/two.png', 'a/one.png']
  assert found['a/notes.txt'] == 'it is no picture of a known kind'
  assert 'No such file' in found['nowhere.png']
  assert 'no files' in found['empty']


def test_files_that_are_too_large_are_not_read(tmp_path, monkeypatch) -> None:
  monkeypatch.setattr(pictures, 'MOST_BYTES', len(GOOD) - 1)
  (tmp_path / 'large.png').write_bytes(GOOD)
  (picture,) = pictures.read_all([str(tmp_path / 'large.png')], (8, 8, 3))
  assert 'larger' in picture.problem


def test_addresses() -> None:
  class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
      self.send_response(200 if self.path == '/cat.png' else 404)
      self.end_headers()
      self.wfile.write(GOOD)

    def log_message(self, *_: object) -> None:
      pass

  server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  try:
    root = f'http://127.0.0.1:{server.server_port}'
    places = [f'{root}/cat.png', f'{root}/dog.png', 'http://127.0.0.1:1/x']
    cat, dog, refused = pictures.read_all(places, (8, 8, 3))
  finally:
    server.shutdown()
    server.server_close()
  assert cat.image is not None
  assert '404' in dog.problem
  assert 'cannot be fetched' in refused.problem
