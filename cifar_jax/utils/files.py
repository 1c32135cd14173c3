"""Writing of files so that each is either the old one or the whole new one, and of folders."""

import contextlib
import errno
import json
import os
import pathlib
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from typing import Any

from cifar_jax.utils.errors import UserError

_IS_WINDOWS = os.name == 'nt'
_TRIES = 20


class DiskError(UserError):
  """The disk is full, or forbids to write."""


@contextlib.contextmanager
def replacing(path: pathlib.Path, shared: bool = False) -> Iterator[pathlib.Path]:
  """Gives a path beside `path` to write a file or a folder at, which then takes its place.

  If the block raises, what was written is removed, and `path` is as it was.

  Args:
    path: The file or folder to be.
    shared: Whether other processes may write it at the same time, each then a draft of its own; one
      of them takes the place. Without it, a draft that a killed process left is written over.
  """
  number = f'{secrets.token_hex(4)}.' if shared else ''
  draft = path.with_name(f'.{path.name}.{number}partial')
  try:
    yield draft
    if draft.is_dir():  # which no rename puts in the place of a folder that is not empty
      shutil.rmtree(path, ignore_errors=True)
    try:
      _rename(draft, path)
    except OSError as error:
      there = error.errno in (errno.ENOTEMPTY, errno.EEXIST) or (_IS_WINDOWS and path.is_dir())
      if not shared or not there:
        raise
      shutil.rmtree(draft)  # another process was quicker
  except BaseException:
    shutil.rmtree(draft) if draft.is_dir() else draft.unlink(missing_ok=True)
    raise


def is_free(path: pathlib.Path) -> bool:
  """Whether nothing is at a path, or an empty folder, which no link is."""
  empty = path.is_dir() and not any(path.iterdir())
  return not path.is_symlink() and (empty or not path.exists())


def _rename(draft: pathlib.Path, path: pathlib.Path) -> None:
  """Puts a draft in its place. Windows refuses that while anybody reads what is there: it is tried
  again for a second.
  """
  for _ in range(_TRIES if _IS_WINDOWS else 0):
    try:
      draft.replace(path)
      return
    except PermissionError:
      time.sleep(1 / _TRIES)
  draft.replace(path)


def write_json(path: pathlib.Path, content: Mapping[str, Any]) -> None:
  """Writes readable JSON.

  Raises:
    UserError: the disk is full or the folder cannot be written.
  """
  with disk_errors(path.parent), replacing(path) as draft:
    draft.write_text(json.dumps(content, indent=2, sort_keys=False) + '\n', 'utf-8', newline='\n')


def make_folder(folder: pathlib.Path, what: str = 'folder') -> pathlib.Path:
  """Makes a folder, and those around it, where they are missing.

  Args:
    folder: The folder.
    what: What an error sentence calls it.

  Raises:
    UserError: that cannot be done.
  """
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError as error:
    raise UserError(f'cannot make the {what} {folder}: {error.strerror}') from error
  return folder


def read_regular(path: pathlib.Path, most: int) -> bytes:
  """The content of a regular file: a pipe would be waited for, and some devices have no end.

  Args:
    path: The file.
    most: The most bytes that it may have.

  Raises:
    FileNotFoundError: there is nothing.
    OSError: it is something else, too large, or cannot be read; `strerror` says it.
  """
  status = path.stat()
  if not stat.S_ISREG(status.st_mode):
    raise OSError(errno.EINVAL, 'it is no regular file')
  if status.st_size > most:
    raise OSError(errno.EFBIG, f'it has {status.st_size:,} bytes, more than {most:,}')
  return path.read_bytes()


def nearest_folder(folder: pathlib.Path) -> pathlib.Path:
  """The folder, or the nearest one around it that is there."""
  for place in (folder, *folder.parents):
    try:
      if place.is_dir():
        return place
    except OSError:
      continue
  return pathlib.Path(folder.anchor)


@contextlib.contextmanager
def disk_errors(folder: pathlib.Path) -> Iterator[None]:
  """Turns what a full or forbidden disk raises, in Python or in TensorStore, into one sentence.

  Raises:
    DiskError: that sentence.
  """
  try:
    yield
  except Exception as error:
    text = str(error)
    full = 'No space left' in text or 'RESOURCE_EXHAUSTED' in text or 'quota' in text.lower()
    too_large = 'File too large' in text  # for the disk, or for `ulimit -f`
    if not full and not too_large and not isinstance(error, OSError):
      raise
    cause = 'the disk is full' if full else text.split('\n')[0]
    cause = 'files may not be that large there' if too_large else cause
    raise DiskError(
      f'cannot write to {folder}: {cause}; what was saved before is complete, '
      'so mend that and run the same command again'
    ) from error
