"""One file from a server on this machine that does what servers do, and worse."""

import hashlib
import pathlib
import random
import threading
from collections.abc import Callable, Iterator

import pytest
import requests

from cifar_jax.data.fetch.download import Download, Patience, RefusedError, StoppedError
from cifar_jax.data.fetch.mirrors import RemoteFile
from tests.helpers.file_server import Site, serving

CONTENT = b'\x1f\x8b' + random.Random(0).randbytes(200_000)
QUICK = Patience(connect=1, silence=0.3, trial=0.2, pause=0.01, longest_pause=1, tries=3)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
  monkeypatch.setenv('NO_PROXY', '127.0.0.1')
  with serving(Site({'/data.gz': CONTENT})) as site:
    yield site


@pytest.fixture
def said() -> list[str]:
  return []


@pytest.fixture
def start(site: Site, tmp_path: pathlib.Path, said: list[str]) -> Callable[..., Download]:
  """Makes a download of CONTENT into tmp_path/data.gz; without an MD5 by `md5=''`."""

  def start(path: str = '/data.gz', **changes) -> Download:
    fields = {'size': len(CONTENT), 'md5': hashlib.md5(CONTENT).hexdigest(), **changes}
    file = RemoteFile(site.url + path, 'data.gz', **fields)
    return Download(file, tmp_path / 'data.gz', QUICK, threading.Event(), said.append)

  return start


@pytest.fixture
def whole(tmp_path: pathlib.Path) -> Iterator[None]:
  """At the end the file is there, and nothing else."""
  yield
  assert (tmp_path / 'data.gz').read_bytes() == CONTENT
  assert [path.name for path in tmp_path.iterdir()] == ['data.gz']


def refused(download: Download, words: str) -> None:
  with pytest.raises(RefusedError, match=words):
    download.run()


@pytest.mark.usefixtures('whole')
def test_a_file_at_once_and_never_again(site, start) -> None:
  start().run()
  start().run()
  assert site.requests == [('/data.gz', '')]


@pytest.mark.usefixtures('whole')
@pytest.mark.parametrize('length', [0, None])
def test_a_file_of_roughly_known_size(site, start, length) -> None:
  site.length = length
  start(md5='', size=int(len(CONTENT) * 0.8)).run()


@pytest.mark.usefixtures('whole')
def test_what_breaks_off_goes_on_there(site, start) -> None:
  site.cut = [100_000, 0, 60_000]
  download = start()
  download.run()
  starts = [int(text.strip('bytes=-') or 0) for _, text in site.requests]
  assert len(starts) == 4
  assert starts == sorted(starts)
  # urllib3 keeps what is not a whole piece of 16 kB to itself when a connection ends.
  assert site.sent - len(CONTENT) <= 2 * (1 << 14)
  assert download.transferred == len(CONTENT)


@pytest.mark.usefixtures('whole')
def test_another_process_goes_on(site, start, tmp_path) -> None:
  (tmp_path / 'data.gz.part').write_bytes(CONTENT[:150_000])
  url = f'{site.url}/data.gz'
  (tmp_path / 'data.gz.part.json').write_text(f'{{"url": "{url}", "validator": "\\"1\\""}}')
  start().run()
  assert site.requests == [('/data.gz', 'bytes=150000-')]
  assert site.sent == len(CONTENT) - 150_000


@pytest.mark.usefixtures('whole')
def test_without_ranges_it_starts_again_and_says_so(site, start, said) -> None:
  site.ranges = False
  site.cut = [100_000]
  start().run()
  assert len(said) == 1
  assert 'cannot go on where it broke off' in said[0]


@pytest.mark.usefixtures('whole')
def test_two_versions_are_not_joined(site, start, tmp_path) -> None:
  (tmp_path / 'data.gz.part').write_bytes(b'\x1f\x8b' + bytes(50_000))
  url = f'{site.url}/data.gz'
  (tmp_path / 'data.gz.part.json').write_text(f'{{"url": "{url}", "validator": "\\"0\\""}}')
  start().run()
  assert site.sent == len(CONTENT)


@pytest.mark.usefixtures('whole')
@pytest.mark.parametrize(
  'about', ['{}', '[', '{"url": "http://elsewhere/data.gz"}', '{"url": "URL", "length": "x"}']
)
def test_a_damaged_part_starts_again(site, start, tmp_path, about) -> None:
  (tmp_path / 'data.gz.part').write_bytes(bytes(150_000))
  (tmp_path / 'data.gz.part.json').write_text(about.replace('URL', f'{site.url}/data.gz'))
  start().run()


@pytest.mark.parametrize('size', [-1000, 1000])
def test_a_server_that_lies_about_the_length(site, start, tmp_path, size) -> None:
  site.length = size
  refused(start(), f'has a file of {len(CONTENT) + size} bytes instead of {len(CONTENT)}')
  assert not list(tmp_path.iterdir())


def test_a_server_that_sends_too_much(site, start) -> None:
  site.length = None
  site.files['/data.gz'] = CONTENT + bytes(100_000)
  refused(start(), f'sent more than {len(CONTENT)} bytes')
  refused(start(md5='', size=1000), 'sent more than 1500 bytes')


def test_a_server_that_ends_too_early_for_ever(site, start) -> None:
  site.length = None
  site.files['/data.gz'] = CONTENT[:90_000]
  refused(start(), f'ended after 90000 of {len(CONTENT)} bytes|the part that is missing')


def test_other_bytes_are_refused(site, start, tmp_path) -> None:
  site.files['/data.gz'] = CONTENT[:-1] + b'?'
  refused(start(), 'other bytes than those published')
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
  ('status', 'words'),
  [
    (403, 'answers 403 Forbidden'),
    (404, 'answers 404'),
    (401, 'answers 401'),
    (204, 'answers 204'),
  ],
)
def test_a_no_is_not_repeated(site, start, status, words) -> None:
  site.status = [status]
  refused(start(), words)
  assert len(site.requests) == 1


@pytest.mark.usefixtures('whole')
def test_a_busy_server_is_asked_again(site, start) -> None:
  site.status = [503, 429, 500, 200]
  start().run()
  assert len(site.requests) == 4


def test_a_busy_server_is_not_asked_for_ever(site, start) -> None:
  site.status = [503]
  refused(start(), 'answers 503 Service Unavailable')
  assert len(site.requests) == QUICK.tries + 1
  site.headers = {'Retry-After': '600'}
  refused(start(), 'answers 503 Service Unavailable, for 600 s')
  assert len(site.requests) == QUICK.tries + 2


@pytest.mark.parametrize('kind', ['text/html; charset=utf-8', 'application/gzip'])
def test_a_login_page(site, start, kind) -> None:
  site.files['/data.gz'] = b'\n<!doctype html><title>Please log in</title>' + bytes(len(CONTENT))
  site.headers = {'Content-Type': kind}
  site.length = None
  refused(start(), 'a web page .*instead of the file')


@pytest.mark.usefixtures('whole')
@pytest.mark.parametrize('target', ['/data.gz', 'data.gz?signed=1', '{url}/data.gz'])
def test_redirects_are_followed(site, start, target) -> None:
  site.status, site.headers = [302, 200], {'Location': target.format(url=site.url)}
  start('/elsewhere').run()


@pytest.mark.parametrize(
  ('target', 'words'),
  [
    ('file:///etc/passwd', "redirects to 'file:///etc/passwd'"),
    ('ftp://127.0.0.1/data.gz', 'where nothing is fetched from'),
    ('javascript:alert(1)', 'where nothing is fetched from'),
    ('/data.gz', 'redirects without end'),
    ('http://[::1', 'is no address'),
    ('http://127.0.0.1:1/', 'connection refused'),
  ],
)
def test_redirects_to_where_nothing_is_fetched_from(site, start, target, words) -> None:
  site.status, site.headers = [302], {'Location': target}
  refused(start(), words)


def test_servers_that_say_nothing(site, start) -> None:
  site.closes = True
  refused(start(), 'closed the connection without an answer|broke off|reset')
  site.closes, site.silent = False, True
  refused(start(), 'silent for 0.3 s')


def test_a_server_that_falls_silent(site, start) -> None:
  site.stall = 100_000
  site.ranges = False
  refused(start(), 'silent for 0.3 s')
  assert len(site.requests) <= QUICK.tries + 2


@pytest.mark.parametrize(
  ('value', 'words'),
  [
    ('bytes 0-200001/200002', 'another part'),
    ('items 3', 'another part'),
    ('bytes 150000-200000/999999', 'of 999999 bytes'),
  ],
)
def test_a_wrong_part(site, start, tmp_path, value, words) -> None:
  (tmp_path / 'data.gz.part').write_bytes(CONTENT[:150_000])
  (tmp_path / 'data.gz.part.json').write_text(f'{{"url": "{site.url}/data.gz"}}')
  site.headers = {'Content-Range': value}
  refused(start(), words)


def test_no_server_and_no_address(site, start) -> None:
  download = start()
  for url, words in (
    ('http://127.0.0.1:1/data.gz', 'connection refused'),
    ('http://no.such.host.invalid/x.gz', 'cannot be looked up|proxy'),
    ('nonsense', 'is no address'),
    ('ftp://127.0.0.1/x', 'is no address'),
  ):
    download._file = RemoteFile(url, 'data.gz', 10, 'x')
    refused(download, words)


def test_certificates_that_are_not_there(site, start, monkeypatch) -> None:
  monkeypatch.setenv('REQUESTS_CA_BUNDLE', '/no/such.pem')
  download = start()
  download._file = RemoteFile('https://127.0.0.1:1/data.gz', 'data.gz', 10, 'x')
  refused(download, 'cannot be asked .*certificate.*/no/such.pem')


@pytest.mark.usefixtures('whole')
def test_a_proxy_is_used(site, start, monkeypatch) -> None:
  monkeypatch.setenv('HTTP_PROXY', site.url)
  monkeypatch.setenv('http_proxy', site.url)
  url = 'http://no.such.host.invalid/data.gz'
  site.files[url] = site.files.pop('/data.gz')
  download = start()
  download._file = RemoteFile(url, 'data.gz', len(CONTENT), hashlib.md5(CONTENT).hexdigest())
  download.run()


def test_it_can_be_stopped(site, start) -> None:
  site.rate = 100_000
  download = start()
  threading.Timer(0.2, download._stop.set).start()
  with pytest.raises(StoppedError):
    download.run()
  assert 0 < download.received < len(CONTENT)


def test_one_that_was_stopped_leaves_the_part_to_others(site, start, tmp_path, monkeypatch) -> None:
  """The answer may come when another download goes on from the same part."""
  site.cut = [100_000]
  download = start()
  download._patience = Patience(tries=0)
  refused(download, 'ended|broke off')
  part = tmp_path / 'data.gz.part'
  there = part.read_bytes()
  assert there
  site.ranges = False  # what it is sent would replace the part
  download = start()
  ask = requests.get

  def stopped_meanwhile(*arguments, **options) -> requests.Response:
    download._stop.set()
    return ask(*arguments, **options)

  monkeypatch.setattr(requests, 'get', stopped_meanwhile)
  with pytest.raises(StoppedError):
    download.run()
  assert part.read_bytes() == there
