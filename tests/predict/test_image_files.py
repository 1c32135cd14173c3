"""Images from files, folders, addresses and standard input, and what cannot be used of them."""

import http.server
import io
import os
import threading
from collections.abc import Iterator

import pytest

from cifar_jax.data.preprocessing import Preprocessing
from cifar_jax.predict import image_files

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
    for picture in image_files.read_all(places, WANTED)
  }
  assert [name for name, problem in found.items() if not problem] == ['a/b/two.png', 'a/one.png']
  assert found['a/notes.txt'] == 'no picture in JPEG, PNG, WEBP, BMP, GIF, TIFF or PPM'
  assert 'No such file' in found['nowhere.png']
  assert 'no files' in found['empty']


def test_files_that_are_too_large_are_not_read(tmp_path) -> None:
  with open(tmp_path / 'large.png', 'wb') as large:
    large.truncate(8_000_001)
  (picture,) = image_files.read_all(
    [str(tmp_path / 'large.png')], Preprocessing(8, 8, max_megapixels=1)
  )
  assert picture.problem == '8 MB, too large'


@pytest.fixture
def address() -> Iterator[str]:
  """Where a server answers '/cat.png' with an image."""

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
    yield f'http://127.0.0.1:{server.server_port}'
  finally:
    server.shutdown()
    server.server_close()


def test_addresses(address) -> None:
  sources = [f'{address}/cat.png', f'{address}/dog.png', 'http://127.0.0.1:1/x']
  cat, dog, refused = image_files.read_all(sources, WANTED)
  assert cat.pixels is not None
  assert '404' in dog.problem
  assert 'cannot be fetched' in refused.problem


def problems(*places) -> dict[str, str]:
  return {found.name: found.problem for found in image_files.read_all([*map(str, places)], WANTED)}


def test_what_systems_leave_in_folders_is_passed_over(tmp_path) -> None:
  (tmp_path / '.hidden').mkdir()
  for name in ('.DS_Store', '._one.png', 'Thumbs.db', '.hidden/two.png'):
    (tmp_path / name).write_bytes(b'x')
  (tmp_path / 'one.png').write_bytes(GOOD)
  assert problems(tmp_path) == {str(tmp_path / 'one.png'): ''}


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='this system has no pipes with names')
def test_what_is_no_regular_file_is_not_waited_for(tmp_path) -> None:
  os.mkfifo(tmp_path / 'pipe.png')
  assert problems(tmp_path) == {str(tmp_path / 'pipe.png'): 'not a regular file'}
  assert problems(tmp_path / 'pipe.png', '/dev/zero') == {
    str(tmp_path / 'pipe.png'): 'not a regular file',
    '/dev/zero': 'not a regular file',
  }


def test_links_that_lead_round(tmp_path) -> None:
  (tmp_path / 'one.png').write_bytes(GOOD)
  (tmp_path / 'round').symlink_to(tmp_path)
  (tmp_path / 'self.png').symlink_to('self.png')
  found = problems(tmp_path)
  assert found.pop(str(tmp_path / 'one.png')) == ''
  ((name, problem),) = found.items()
  assert name == str(tmp_path / 'self.png')
  assert problem.startswith('cannot be read: ')


@pytest.mark.parametrize(
  ('place', 'problem'),
  [
    ('x' * 5000, 'cannot be read: File name too long'),
    ('', 'an empty name'),
    ('a\0b', 'cannot be read: a NUL in its name'),
    ('https://[', 'it cannot be fetched (Invalid IPv6 URL)'),
    ('http://\x7f', 'it cannot be fetched'),
    ('http://127.0.0.1:port/', 'it cannot be fetched'),
    ('file:///etc/passwd', 'cannot be read: No such file'),
  ],
)
def test_names_that_are_none(place, problem) -> None:
  (found,) = image_files.read_all([place], WANTED)
  assert found.problem.startswith(problem)
  assert len(found.shown_name) <= 210


def test_names_are_shown_in_one_line() -> None:
  found = image_files.InputImage('a\nb\x1b[31m\udce9é.png', None)
  assert found.shown_name == 'a\\nb\\x1b[31m\\udce9é.png'


def test_a_folder_that_cannot_be_read_is_named(tmp_path) -> None:
  (tmp_path / 'closed').mkdir(mode=0)
  (tmp_path / 'one.png').write_bytes(GOOD)
  found = problems(tmp_path)
  if os.geteuid():  # root may read everything
    assert found.pop(str(tmp_path / 'closed')) == 'cannot be read: Permission denied'
  assert found == {str(tmp_path / 'one.png'): ''}


def test_standard_input_is_bounded(monkeypatch) -> None:
  class Endless(io.RawIOBase):
    def readable(self) -> bool:
      return True

    def readinto(self, buffer) -> int:
      buffer[:] = bytes(len(buffer))
      return len(buffer)

  endless = io.TextIOWrapper(io.BufferedReader(Endless()))
  monkeypatch.setattr('sys.stdin', endless)
  (found,) = image_files.read_all(['-'], Preprocessing(8, 8, max_megapixels=1))
  assert found.problem == 'more than 8 MB, too large'


def test_an_answer_that_trickles_in_ends(monkeypatch, address) -> None:
  monkeypatch.setattr(image_files, '_MOST_SECONDS', 0)
  (found,) = image_files.read_all([f'{address}/cat.png'], WANTED)
  assert found.problem == 'it cannot be fetched in 0 s'
