"""A server of files on this machine that behaves as badly as it is told to."""

import contextlib
import dataclasses
import http.server
import re
import threading
import time
from collections.abc import Iterator

from tests.helpers.serving import address_of


@dataclasses.dataclass
class Site:
  """What a server has and does; may be changed while it runs.

  Attributes:
    files: Path -> content.
    url: Its address.
    rate: Bytes a second of each answer.
    slower: After so many bytes of an answer, so many bytes a second of it.
    cut: Bytes after which an answer breaks off; the first answers break off there, one for each.
    stall: Bytes after which an answer stands still.
    ranges: Whether it knows ranges.
    etag: The version of its files.
    length: What is added to the length that it announces; None announces none.
    status: What it answers instead of the file, one for each request; the last one stays.
    headers: Headers that it adds, or sends in the place of others.
    silent: Whether it takes a request and never answers.
    closes: Whether it takes a request and closes the connection.
    requests: The paths that it was asked for, with the range.
    sent: Bytes of files that it sent.
  """

  files: dict[str, bytes]
  url: str = ''
  rate: float | None = None
  slower: tuple[int, float] | None = None
  cut: list[int] = dataclasses.field(default_factory=list)
  stall: int | None = None
  ranges: bool = True
  etag: str = '"1"'
  length: int | None = 0
  status: list[int] = dataclasses.field(default_factory=list)
  headers: dict[str, str] = dataclasses.field(default_factory=dict)
  silent: bool = False
  closes: bool = False
  requests: list[tuple[str, str]] = dataclasses.field(default_factory=list)
  sent: int = 0


class _Handler(http.server.BaseHTTPRequestHandler):
  site: Site
  over: threading.Event

  def log_message(self, *_: object) -> None:
    pass

  def do_GET(self) -> None:
    site = self.site
    site.requests.append((self.path, self.headers.get('range', '')))
    if site.silent:
      self.over.wait()
    if site.silent or site.closes:
      return
    content = site.files.get(self.path.partition('?')[0])
    status = (
      (site.status.pop(0) if len(site.status) > 1 else site.status[0]) if site.status else 200
    )
    if content is None and status == 200:
      status = 404
    if status != 200 or content is None:
      self._head(status, {'Content-Length': '0'})
      return
    start = self._start(len(content))
    headers = {'ETag': site.etag, 'Content-Type': 'application/octet-stream'}
    if start:
      headers['Content-Range'] = f'bytes {start}-{len(content) - 1}/{len(content)}'
    if site.length is not None:
      headers['Content-Length'] = str(len(content) - start + site.length)
    self._head(206 if start else 200, headers)
    self._body(content[start:])

  def _start(self, size: int) -> int:
    match = re.fullmatch(r'bytes=(\d+)-', self.headers.get('range', ''))
    same = self.headers.get('if-range', self.site.etag) == self.site.etag
    return int(match[1]) if match and same and self.site.ranges and int(match[1]) < size else 0

  def _head(self, status: int, headers: dict[str, str]) -> None:
    self.send_response(status)
    for name, value in {**headers, **self.site.headers}.items():
      self.send_header(name, value)
    self.end_headers()

  def _body(self, content: bytes) -> None:
    site = self.site
    cut = site.cut.pop(0) if site.cut else len(content)
    size = max(1, int(site.rate / 50)) if site.rate else 1 << 16
    sent, due = 0, time.monotonic()
    with contextlib.suppress(ConnectionError):
      while sent < min(len(content), cut):
        if site.stall is not None and sent >= site.stall:
          self.over.wait()
          return
        rate = site.rate
        if site.slower and sent >= site.slower[0]:
          rate, size = site.slower[1], 100
        chunk = content[sent : min(sent + size, cut)]
        self.wfile.write(chunk)
        sent += len(chunk)
        site.sent += len(chunk)
        due += len(chunk) / rate if rate else 0
        if self.over.wait(max(0, due - time.monotonic())):
          return


@contextlib.contextmanager
def serving(site: Site) -> Iterator[Site]:
  """Serves a site, whose `url` is set, in threads of this process."""
  over = threading.Event()
  handler = type('Handler', (_Handler,), {'site': site, 'over': over})
  with address_of(handler) as site.url:
    try:
      yield site
    finally:
      over.set()
