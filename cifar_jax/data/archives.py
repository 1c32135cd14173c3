"""Reads chosen files from a folder or a .tar.gz, within limits and without writing to disk."""

import gzip
import hashlib
import io
import pathlib
import tarfile
from collections.abc import Mapping

from cifar_jax.utils.errors import UserError, as_user_error

_AGAIN = 'get the file again'
# Headers, padding and the small files (readme, meta) that an official archive holds besides.
_OVERHEAD_BYTES = 1 << 20


def read_files(path: pathlib.Path, limits: Mapping[str, int]) -> dict[str, bytes]:
  """Reads the files with the given names, as far as they are there.

  Args:
    path: A folder that holds the files, or a .tar.gz that holds them in one folder.
    limits: File name -> the largest number of bytes to accept.

  Returns:
    File name -> content.

  Raises:
    UserError: a file is larger than its limit, is no plain file or cannot be read, or the archive
      is damaged.
  """
  return _read_archive(path, limits) if path.is_file() else _read_folder(path, limits)


def md5_of(content: bytes) -> str:
  """The MD5 by which published files are known."""
  return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _read_folder(folder: pathlib.Path, limits: Mapping[str, int]) -> dict[str, bytes]:
  contents = {}
  for name, limit in limits.items():
    path = folder / name
    try:
      if not path.exists():
        continue
      if not path.is_file():
        raise UserError(f'{path} is no plain file; {_AGAIN}.')
      _check_size(path.stat().st_size, limit, str(path))
      contents[name] = path.read_bytes()
    except OSError as error:
      raise UserError(f'{path} cannot be read: {error.strerror}.') from None
  return contents


def _read_archive(path: pathlib.Path, limits: Mapping[str, int]) -> dict[str, bytes]:
  contents: dict[str, bytes] = {}
  limit = sum(limits.values()) + _OVERHEAD_BYTES
  damaged = as_user_error(f'{path} cannot be read as a .tar.gz', f'; {_AGAIN}.')
  with damaged, gzip.open(path) as stream:
    bounded = _Bounded(stream, limit, path)
    # 'r|': one pass from front to back, which the bound on the stream holds to its limit.
    with tarfile.open(fileobj=bounded, mode='r|') as tar:
      for member in tar:
        parts = pathlib.PurePosixPath(member.name).parts
        if not parts or len(parts) > 2 or parts[-1] not in limits:
          continue
        name, where = parts[-1], f'{path}, member {member.name},'
        if not member.isreg() or member.issparse():
          raise UserError(f'{where} is no plain file; {_AGAIN}.')
        if name in contents:
          raise UserError(f'{where} is there twice; {_AGAIN}.')
        _check_size(member.size, limits[name], where)
        file = tar.extractfile(member)
        contents[name] = file.read() if file else b''
    while bounded.read(1 << 20):  # Up to the end, where gzip compares its checksum.
      pass
  return contents


def _check_size(size: int, limit: int, where: str) -> None:
  if size > limit:
    raise UserError(f'{where} has {size} bytes, more than the {limit} accepted; {_AGAIN}.')


class _Bounded(io.RawIOBase):
  """Passes on what it reads, and stops a decompression bomb at `limit` bytes."""

  def __init__(self, stream: gzip.GzipFile, limit: int, path: pathlib.Path):
    self._stream, self._limit, self._path, self._count = stream, limit, path, 0

  def readable(self) -> bool:
    """Says that this stream is for reading."""
    return True

  def read(self, size: int = -1) -> bytes:
    """Reads at most `size` bytes."""
    data = self._stream.read(size)
    self._count += len(data)
    _check_size(self._count, self._limit, f'{self._path}, unpacked,')
    return data
