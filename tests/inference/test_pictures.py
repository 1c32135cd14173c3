"""Images from files, folders, addresses and standard input, and what cannot be used of them."""

import http.server
import io
import threading

import pytest

from cifar_jax.data.preprocessing import Preprocessing
from cifar_jax.inference import pictures

Image = pytest.importorskip('PIL.Image')

WANTED = Preprocessing(8, 8)


def encoded(image, kind: str = 'PNG', **options) -> bytes:
  buffer = io.BytesIO()
  image.save(buffer, kind, **options)
  return buffer.getvalue()


GOOD = encoded(Image.new('RGB', (64, 64), (255, 0, 0)))


def test_files_folders_and_what_is_missing(tmp_path) -> None:
  (tmp_path / 'a' / 'b').mkdir(parents=True)
  (tmp_path / 'empty').mkdir()
  (tmp_path / 'a' / 'one.png').write_bytes(GOOD)
  (tmp_path / 'a' / 'b' / 'two.png').write_bytes(GOOD)
  (tmp_path / 'a' / 'notes.txt').write_text('no picture')
  places = [str(tmp_path / name) for name in ('a', 'nowhere.png', 'empty')]
  found = {
    picture.name.removeprefix(f'{tmp_path}/'): picture.problem
    for picture in pictures.read_all(places, WANTED)
  }
  assert [name for name, problem in found.items() if not problem] == ['a/b/two.png', 'a/one.png']
  assert found['a/notes.txt'] == 'no picture in JPEG, PNG, WEBP, BMP, GIF, TIFF or PPM'
  assert 'No such file' in found['nowhere.png']
  assert 'no files' in found['empty']


def test_files_that_are_too_large_are_not_read(tmp_path) -> None:
  with open(tmp_path / 'large.png', 'wb') as large:
    large.truncate(8_000_001)
  (picture,) = pictures.read_all(
    [str(tmp_path / 'large.png')], Preprocessing(8, 8, max_megapixels=1)
  )
  assert picture.problem == '8 MB, too large'


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
    cat, dog, refused = pictures.read_all(places, WANTED)
  finally:
    server.shutdown()
    server.server_close()
  assert cat.image is not None
  assert '404' in dog.problem
  assert 'cannot be fetched' in refused.problem
