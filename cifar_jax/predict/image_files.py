"""Images of the user's own: from files, folders, addresses and standard input.

What comes from outside may be damaged, huge or no image at all; each one that cannot be used is
named and the others go on. See `data.image_file` for what is decoded and how much of it.
"""

import dataclasses
import http.client
import math
import os
import pathlib
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cifar_jax.data.image_file import DamagedImageError, decode, most_bytes, read_file
from cifar_jax.data.image_folder.listing import is_left_out
from cifar_jax.data.preprocessing import Preprocessing

_SECONDS = 20  # that an address may take to answer, and to go on answering
_MOST_SECONDS = 120  # that it may take for all of an image
_CHUNK = 1 << 20  # bytes read at a time
_NAME = 200  # characters of a name that are shown


@dataclasses.dataclass(frozen=True)
class InputImage:
  """An image of the user's.

  Attributes:
    name: The name as the user gave it; for a file in a folder, its path.
    pixels: The pixels as the network takes them, uint8 [H, W, C], or None if they cannot be used.
    problem: Why they cannot be used, or ''.
  """

  name: str
  pixels: np.ndarray | None
  problem: str = ''

  @property
  def shown_name(self) -> str:
    """The name in one line of printable characters, cut where nobody would read on."""
    cut = self.name if len(self.name) <= _NAME else f'{self.name[:_NAME]}...'
    return ''.join(
      letter if letter.isprintable() else letter.encode('unicode_escape').decode() for letter in cut
    )


def read_all(sources: Sequence[str], preprocessing: Preprocessing) -> Iterator[InputImage]:
  """Reads what a command line names, one after the other.

  Args:
    sources: Paths of files and folders (all files in them, at any depth, but hidden ones), http and
      https addresses, '-' for standard input, whose name is '-' too.
  """
  for name, problem in named(sources):
    try:
      if problem:
        raise DamagedImageError(problem)
      content = read_bytes(name, preprocessing.max_megapixels)
      yield InputImage(name, decode(content, preprocessing).pixels)
    except DamagedImageError as error:
      yield InputImage(name, None, str(error))


def named(sources: Sequence[str]) -> Iterator[tuple[str, str]]:
  """The names of the images of some sources, with those of the files in folders, each with what is
  wrong with it or ''.
  """
  for source in sources:
    # `os.path` takes any text for a path, too long a one included.
    if source in ('', '-') or not os.path.isdir(source):
      yield source, ''
      continue
    yield from sorted(_files(source)) or [(source, 'the folder has no files')]


def read_bytes(source: str, max_megapixels: float) -> bytes:
  """The content of a file, of an http or https address, or of standard input for '-'.

  Raises:
    DamagedImageError: it cannot be had, or is too large to be an image of so many pixels.
  """
  if source == '-':
    return _bounded(sys.stdin.buffer, max_megapixels)
  if source.startswith(('http://', 'https://')):
    return _download(source, max_megapixels)
  if not source:
    raise DamagedImageError('an empty name')
  return read_file(pathlib.Path(source), max_megapixels)


def _files(folder: str) -> Iterator[tuple[str, str]]:
  """All files below a folder, hidden ones left out, and the folders that cannot be read with the
  reason; links are followed once.
  """
  unreadable: list[tuple[str, str]] = []

  def note(error: OSError) -> None:
    unreadable.append((str(error.filename), f'cannot be read: {error.strerror}'))

  seen: set[str] = set()
  for parent, folders, names in os.walk(folder, followlinks=True, onerror=note):
    real = os.path.realpath(parent)
    if real in seen:
      folders.clear()
      continue
    seen.add(real)
    folders[:] = (name for name in folders if not is_left_out(name))
    yield from ((os.path.join(parent, name), '') for name in names if not is_left_out(name))
  yield from unreadable


def _download(address: str, max_megapixels: float) -> bytes:
  try:
    request = urllib.request.Request(address, headers={'User-Agent': 'cifar_jax'})
    with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
      return _bounded(answer, max_megapixels, _MOST_SECONDS)
  except urllib.error.HTTPError as error:
    raise DamagedImageError(f'the server answered {error.code} {error.reason}') from None
  except (OSError, ValueError, http.client.HTTPException) as error:
    reason = getattr(error, 'reason', None) or error or type(error).__name__
    raise DamagedImageError(f'it cannot be fetched ({reason})') from None


def _bounded(stream: Any, max_megapixels: float, seconds: float = math.inf) -> bytes:
  """All of a stream, in time and not more than an image of so many pixels has."""
  end, most = time.monotonic() + seconds, most_bytes(max_megapixels)
  parts, count = [], 0
  while part := stream.read1(_CHUNK):
    parts.append(part)
    count += len(part)
    if count > most:
      raise DamagedImageError(f'more than {most / 1e6:.0f} MB, too large')
    if time.monotonic() > end:
      raise DamagedImageError(f'it cannot be fetched in {seconds:.0f} s')
  return b''.join(parts)
