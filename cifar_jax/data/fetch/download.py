"""One file over HTTP: continued where it broke off, within bounds, and compared with its MD5.

A file on its way is `NAME.part`; `NAME.part.json` says from which version of which address, so that
bytes of two versions are never joined. Nothing a server says is believed: its length is compared
with the known one, its bytes with the MD5, and it may redirect to HTTP and HTTPS only.
"""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import requests
import urllib3

from cifar_jax.data.fetch import reasons
from cifar_jax.data.fetch.mirrors import RemoteFile

_CHUNK = 1 << 14
_MOST_REDIRECTS = 5
_ROOM = 1.5  # how much larger than its rough size a file without MD5 may be
_MAGIC = {'.gz': b'\x1f\x8b', '.parquet': b'PAR1'}  # how files with these suffixes begin
_TRANSIENT = {408, 425, 429, 500, 502, 503, 504}


@dataclasses.dataclass(frozen=True)
class Patience:
  """How long to wait for what, in seconds.

  Attributes:
    connect: For a connection.
    silence: For the next byte.
    trial: For two mirrors to show which is the faster.
    worthwhile: A download that is done by then is not worth another trial.
    pause: Before the first of several tries to go on; twice as long before each further one.
    longest_pause: That a server may ask for.
    tries: How many times to go on without getting further in between.
  """

  connect: float = 5.0
  silence: float = 10.0
  trial: float = 3.0
  worthwhile: float = 20.0
  pause: float = 1.0
  longest_pause: float = 60.0
  tries: int = 4


class RefusedError(Exception):
  """Says in a few words why an address is of no use."""


class StoppedError(Exception):
  """Somebody else goes on with the download."""


class _InterruptedError(Exception):
  """Says in a few words why a download broke off.

  Attributes:
    again: Whether to ask again though nothing has come from there yet.
    after: The seconds after which the server wants to be asked again; 0 where it does not say.
  """

  def __init__(self, reason: str, again: bool = False, after: float = 0.0):
    super().__init__(reason)
    self.again, self.after = again, after


class Download:
  """A file on its way from one address.

  Attributes:
    received: Bytes that are here, those of earlier processes among them.
    total: Bytes that it has, as far as is known.
    transferred: Bytes that this process received, those that it threw away among them.
  """

  def __init__(
    self,
    file: RemoteFile,
    path: pathlib.Path,
    patience: Patience,
    stop: threading.Event,
    say: Callable[[str], None],
    token: str = '',
  ):
    """`path` is where the file is to be; `say` is told what is worth a line; `token` says who asks,
    to the host of the address alone.
    """
    self._file, self._path, self._patience, self._stop, self._say = file, path, patience, stop, say
    self._token = token
    self._part = path.with_name(f'{path.name}.part')
    self._about = path.with_name(f'{path.name}.part.json')
    self.total = file.size
    self.transferred = 0
    self.received = self._size()

  def run(self) -> None:
    """Downloads the file, or what is missing of it.

    Raises:
      RefusedError: the address does not have it, or is not to be reached.
      StoppedError: the event was set.
      OSError: the disk is full or cannot be written.
    """
    if self._path.is_file():
      return
    continued = self.received > 0
    while True:
      self._receive()
      if self._right():
        break
      # What an earlier process left may have been damaged since; what is all new is another file.
      if not continued:
        self._discard()
        raise RefusedError('sent other bytes than those published, by their MD5')
      self._say(f'{self.host}: what was there before is damaged; starting again')
      self._discard()
      continued = False
    self._part.replace(self._path)
    self._about.unlink(missing_ok=True)

  def _receive(self) -> None:
    """Requests again and again until everything is here."""
    tries, farthest = 0, self.received
    while not self._complete():
      try:
        self._request()
      except _InterruptedError as error:
        # Not by what was transferred: without ranges it may break off at the same place for ever.
        tries = 1 if self.received > farthest else tries + 1
        farthest = max(farthest, self.received)
        if tries > self._patience.tries or not (self.transferred or error.again):
          raise RefusedError(str(error)) from None
        pause = error.after or self._patience.pause * 2 ** (tries - 1)
        if pause > self._patience.longest_pause:
          raise RefusedError(f'{error}, for {pause:.0f} s') from None
        self._stop.wait(pause)
      if self._stop.is_set():
        raise StoppedError

  def _complete(self) -> bool:
    length = self._length()
    return length is not None and self.received >= length

  def _request(self) -> None:
    """One request for what is missing, written to the disk as it comes."""
    headers = {'Accept-Encoding': 'identity', 'User-Agent': 'cifar_jax'}
    about = self._read_about()
    if self.received and about.get('url') != self._file.url:
      self._discard()
    if self.received:
      headers['Range'] = f'bytes={self.received}-'
      if validator := about.get('validator'):
        headers['If-Range'] = validator
    with self._open(headers) as response:
      if self._stop.is_set():  # the part may be another download's by now
        raise StoppedError
      self._check(response)
      try:
        self._write(response)
      except RefusedError:
        self._discard()
        raise
    length = self._length()
    if length is None:  # Without one the end of the answer is the end of the file.
      self._write_about(None, self.received)
    elif self.received < length:
      raise _InterruptedError(f'ended after {self.received} of {length} bytes')

  def _write(self, response: requests.Response) -> None:
    """Adds the body to the part, as it comes."""
    with self._part.open('ab', buffering=0) as part:
      for chunk in self._chunks(response):
        if self._stop.is_set():
          raise StoppedError
        if not self.received:
          self._check_beginning(chunk)
        if self.received + len(chunk) > self._most():
          raise RefusedError(f'sent more than {self._most()} bytes')
        part.write(chunk)
        self.received += len(chunk)
        self.transferred += len(chunk)

  @contextlib.contextmanager
  def _open(self, headers: dict[str, str]) -> Iterator[requests.Response]:
    """The answer at the end of the redirects."""
    url = self._file.url
    timeout = (self._patience.connect, self._patience.silence)
    for _ in range(_MOST_REDIRECTS):
      own = urllib.parse.urlsplit(url)[:2] == urllib.parse.urlsplit(self._file.url)[:2]
      secret = {'Authorization': f'Bearer {self._token}'} if self._token and own else {}
      with self._in_few_words():
        response = requests.get(
          url, headers=headers | secret, stream=True, timeout=timeout, allow_redirects=False
        )
      with response:
        if not response.is_redirect:
          yield response
          return
        target = urllib.parse.urljoin(url, response.headers['location'])
      # Over HTTP anybody on the way could change what no MD5 is known of.
      allowed = ('https',) if url.startswith('https') and not self._file.md5 else ('http', 'https')
      if urllib.parse.urlsplit(target).scheme not in allowed:
        raise RefusedError(f'redirects to {target[:80]!r}, where nothing is fetched from')
      url = target
    raise RefusedError('redirects without end')

  def _check(self, response: requests.Response) -> None:
    """Refuses what is not the file; after it the part is what the body is to be added to."""
    status = response.status_code
    if status in _TRANSIENT:
      raise _InterruptedError(
        f'answers {reasons.status(response)}', True, reasons.retry_after(response)
      )
    if status == 416 and self.received:  # It is another version than the one that was begun.
      self._discard()
      raise _InterruptedError('does not have the part that is missing', True)
    if status not in (200, 206):
      raise RefusedError(f'answers {reasons.status(response)}')
    if 'html' in response.headers.get('content-type', '').lower():
      raise RefusedError('answers with a web page (a login or an error) instead of the file')
    if status == 206:
      match = re.fullmatch(r'bytes (\d+)-\d+/(\d+|\*)', response.headers.get('content-range', ''))
      if not self.received or not match or int(match[1]) != self.received:
        self._discard()
        raise RefusedError('sends another part of the file than it was asked for')
      length = None if match[2] == '*' else int(match[2])
    else:
      if self.received:
        self._say(
          f'{self.host} cannot go on where it broke off, after {self.received / 1e6:.1f} MB; '
          'starting again'
        )
        self._discard()
      text = response.headers.get('content-length', '')
      length = int(text) if text.isdecimal() else None
    if length is not None:
      if length > self._most() or (self._file.md5 and length != self._file.size):
        raise RefusedError(f'has a file of {length} bytes instead of {self._file.size}')
      self.total = length
    if status == 200:
      etag = response.headers.get('etag', '')  # W/"..." says nothing about single bytes
      validator = etag if etag.startswith('"') else response.headers.get('last-modified')
      self._write_about(validator, length)
    elif length not in (None, self._length() or length):
      self._discard()
      raise RefusedError('has another file than the one that was begun')

  def _check_beginning(self, chunk: bytes) -> None:
    magic = _MAGIC.get(pathlib.PurePath(self._file.name).suffix, b'')
    if not chunk.startswith(magic):
      page = chunk.lstrip()[:1] == b'<'
      raise RefusedError(f'sends {"a web page" if page else "something else"} instead of the file')

  def _chunks(self, response: requests.Response) -> Iterator[bytes]:
    """The body as it comes; `raw`, since .gz files must stay packed whatever the headers say."""
    while True:
      try:
        chunk = response.raw.read(_CHUNK, decode_content=False)
      except urllib3.exceptions.ReadTimeoutError:
        raise _InterruptedError(f'silent for {self._patience.silence:g} s') from None
      except (urllib3.exceptions.HTTPError, OSError):
        raise _InterruptedError('broke off') from None
      if not chunk:
        return
      yield chunk

  @contextlib.contextmanager
  def _in_few_words(self) -> Iterator[None]:
    """Turns what requests raises before an answer is there into this module's errors."""
    try:
      yield
    except requests.ConnectTimeout:
      raise _InterruptedError(f'no connection within {self._patience.connect:g} s') from None
    except requests.ReadTimeout:
      raise _InterruptedError(f'silent for {self._patience.silence:g} s') from None
    except requests.exceptions.SSLError:
      raise RefusedError('no secure connection, for its certificate or a proxy between') from None
    except requests.exceptions.ProxyError:
      raise RefusedError('the proxy does not reach it') from None
    except requests.ConnectionError as error:
      raise _InterruptedError(reasons.cause(error)) from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
      raise RefusedError(f'is no address ({type(error).__name__})') from None
    except OSError as error:  # certificates that $REQUESTS_CA_BUNDLE names and nobody has
      raise RefusedError(f'cannot be asked ({str(error)[:120]})') from None

  def _most(self) -> int:
    return self._file.size if self._file.md5 else int(self._file.size * _ROOM)

  def _right(self) -> bool:
    if not self._file.md5:
      return True
    with self._part.open('rb') as file:
      return hashlib.file_digest(file, 'md5').hexdigest() == self._file.md5

  def _size(self) -> int:
    for path in (self._path, self._part):
      with contextlib.suppress(OSError):
        return path.stat().st_size
    return 0

  @property
  def host(self) -> str:
    """The host of its address, for people."""
    return urllib.parse.urlsplit(self._file.url).netloc

  def _discard(self) -> None:
    self._part.unlink(missing_ok=True)
    self._about.unlink(missing_ok=True)
    self.received = 0

  def _length(self) -> int | None:
    """The bytes of the whole file, where they are known."""
    length = self._file.size if self._file.md5 else self._read_about().get('length')
    return length if isinstance(length, int) else None

  def _read_about(self) -> dict[str, Any]:
    try:
      about = json.loads(self._about.read_text('utf-8'))
    except (OSError, ValueError):
      return {}
    return about if isinstance(about, dict) else {}

  def _write_about(self, validator: str | None, length: int | None) -> None:
    about = {'url': self._file.url, 'validator': validator, 'length': length}
    self._about.write_text(json.dumps(about), 'utf-8')
