"""Where Optuna keeps a study: SQLite, a journal file, or PostgreSQL; and one process at a time.

Two things that Optuna leaves open are closed here. Its claims of a trial are a look and then a
write, between which, in SQLite, another process may do the same; and the number of trials is
nobody's to bound. `Store.exclusive` is a lock that ends with the process that holds it, around
both. And a process killed while it appends to a journal leaves half a line there, after which the
journal cannot be read any more; `_WholeLines` takes it back.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeVar

import filelock
import optuna
import sqlalchemy
from optuna.storages import journal

from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import make_folder

SQLITE_NAME = 'study.sqlite3'
_LOCK_SUFFIX = '.claims'
_SECONDS_FOR_SQLITE = 20.0  # that a statement waits for another process's
_PATIENCE = 600.0  # seconds for which a storage that does not answer is asked again
_PAUSE = 1.0
_BLOCK = 4096  # bytes of a journal's end that are looked at together
_FULL = ('database or disk is full', 'No space left', 'Disk quota exceeded')
Value = TypeVar('Value')

# What goes wrong with a storage, rather than with what is asked of it.
ERRORS: tuple[type[Exception], ...] = (
  optuna.exceptions.StorageInternalError,
  sqlalchemy.exc.SQLAlchemyError,
  OSError,
)
_OPENING_ERRORS: tuple[type[Exception], ...] = (*ERRORS, RuntimeError, ValueError)


class StorageError(UserError):
  """The storage of a study cannot be used: no trial is to blame."""


@dataclasses.dataclass(frozen=True, eq=False)
class Store:
  """An open storage.

  Attributes:
    storage: Optuna's.
    exclusive: A context manager that keeps other processes out of claims, whatever machine they are
      on, where these share the file or the server.
    where: What an error sentence calls it.
  """

  storage: optuna.storages.BaseStorage
  exclusive: Callable[[], contextlib.AbstractContextManager[None]]
  where: str


def open_store(text: str, folder: pathlib.Path, must_exist: bool = False) -> Store:
  """Opens a storage.

  Args:
    text: '' for SQLite in the study's folder; 'journal:PATH', 'sqlite:///PATH' or
      'postgresql://USER@HOST/DATABASE'.
    folder: The study's folder.
    must_exist: Whether to make no file where it is missing.

  Raises:
    UserError: it is none of these, a package is missing, or it cannot be opened.
  """
  if text.startswith('journal:') and text != 'journal:':
    path = pathlib.Path(text.removeprefix('journal:')).expanduser()
    _check_is_there(path, must_exist)
    return _journal(path)
  if not text or (text.startswith('sqlite:///') and text != 'sqlite:///'):
    path = pathlib.Path(text.removeprefix('sqlite:///')) if text else folder / SQLITE_NAME
    _check_is_there(path, must_exist)
    return _sqlite(path)
  if text.startswith('postgresql'):
    return _postgresql(text)
  raise UserError(
    f'--storage={text}: give journal:PATH, sqlite:///PATH or postgresql://USER@HOST/DATABASE, or '
    f"leave it out for {SQLITE_NAME} in the study's folder"
  )


def _check_is_there(path: pathlib.Path, must_exist: bool) -> None:
  if must_exist and not path.is_file():
    raise UserError(
      f'{path}, which holds the trials of the study, is not there; bring it back, or give its '
      '--storage'
    )


def without_password(text: str) -> str:
  """The name of a storage as it may be written down."""
  if '://' not in text:
    return text
  with _opening(text.partition('://')[0]):
    return sqlalchemy.make_url(text).render_as_string(hide_password=True)


def patiently(store: Store, call: Callable[[], Value]) -> Value:
  """What a call of a storage returns, asked again while others lock it or its server is away.

  Raises:
    StorageError: its disk is full, or it does not answer for ten minutes.
  """
  start, told = time.monotonic(), False
  while True:
    try:
      return call()
    except ERRORS as error:
      cause = error.__cause__ or error
      text = ' '.join(str(cause).split())[:200]
      if any(sign in text for sign in _FULL):
        raise StorageError(
          f'{store.where} cannot be written: the disk is full; what was saved before is complete, '
          'so make room and run the same command again'
        ) from error
      temporary = isinstance(cause, sqlalchemy.exc.OperationalError | sqlalchemy.exc.TimeoutError)
      if not temporary or time.monotonic() - start > _PATIENCE:
        raise StorageError(
          f'{store.where} cannot be used ({text}); mend that and run the same command again'
        ) from error
      if not told:
        print(f'waiting for {store.where}: {text}', file=sys.stderr, flush=True)
        told = True
      time.sleep(_PAUSE)


def _sqlite(path: pathlib.Path) -> Store:
  make_folder(path.parent)
  lock = _file_lock(path)
  url = sqlalchemy.URL.create('sqlite', database=str(path))
  # Two processes that make the tables at once disturb each other.
  with _opening(str(path)), lock():
    storage = _rdb(url, {'connect_args': {'timeout': _SECONDS_FOR_SQLITE}})
  return Store(storage, lock, str(path))


def _postgresql(text: str) -> Store:
  shown = without_password(text)
  with _opening(shown):
    url = sqlalchemy.make_url(text)
    try:
      url.get_dialect().import_dbapi()
    except ImportError as error:
      raise UserError(
        f'--storage={shown} needs the driver {error.name}, which is not installed; run pip install '
        f"'{'psycopg[binary]' if error.name == 'psycopg' else 'psycopg2-binary'}'"
      ) from None
    storage = _rdb(url, {'pool_pre_ping': True})
  engine = storage.engine

  @contextlib.contextmanager
  def exclusive() -> Iterator[None]:
    # PostgreSQL lets go of it when the connection ends, however that ends.
    key = {'key': zlib.crc32(b'cifar_jax.search')}
    with engine.connect().execution_options(isolation_level='AUTOCOMMIT') as connection:
      connection.execute(sqlalchemy.text('SELECT pg_advisory_lock(:key)'), key)
      try:
        yield
      finally:
        try:
          connection.execute(sqlalchemy.text('SELECT pg_advisory_unlock(:key)'), key)
        except sqlalchemy.exc.SQLAlchemyError:  # what the block did is done
          connection.invalidate()  # no pool keeps it, and with it the lock

  return Store(storage, exclusive, shown)


def _rdb(url: sqlalchemy.URL, options: dict[str, Any]) -> optuna.storages.RDBStorage:
  return optuna.storages.RDBStorage(
    url.render_as_string(hide_password=False), engine_kwargs=options
  )


def _journal(path: pathlib.Path) -> Store:
  make_folder(path.parent)
  with _opening(str(path)):
    storage = optuna.storages.JournalStorage(_WholeLines(path))
  return Store(storage, _file_lock(path), str(path))


def _file_lock(path: pathlib.Path) -> Callable[[], contextlib.AbstractContextManager[None]]:
  @contextlib.contextmanager
  def exclusive() -> Iterator[None]:
    with filelock.FileLock(path.with_name(f'{path.name}{_LOCK_SUFFIX}')):
      yield

  return exclusive


class _WholeLines(journal.JournalFileBackend):
  """A journal of whole lines, also where a process was killed, or the disk was full, in the middle
  of one. Its lock is one that the system takes back from a process that has ended.
  """

  def __init__(self, path: pathlib.Path):
    super().__init__(str(path))
    self._path = path
    self._own_lock = filelock.FileLock(path.with_name(f'{path.name}.lock'))

  def append_logs(self, logs: list[dict[str, Any]]) -> None:
    lines = ''.join(json.dumps(log, separators=(',', ':')) + '\n' for log in logs)
    with self._own_lock, open(self._path, 'rb+', buffering=0) as file:
      end = _end_of_whole_lines(file)
      file.truncate(end)
      file.seek(end)
      try:
        file.write(lines.encode())
        os.fsync(file.fileno())
      except OSError:
        file.truncate(end)
        raise


def _end_of_whole_lines(file: BinaryIO) -> int:
  """The place after the last end of a line."""
  place = file.seek(0, os.SEEK_END)
  while place:
    start = max(0, place - _BLOCK)
    file.seek(start)
    if (found := file.read(place - start).rfind(b'\n')) >= 0:
      return start + found + 1
    place = start
  return 0


@contextlib.contextmanager
def _opening(where: str) -> Iterator[None]:
  """Makes one sentence of what goes wrong while a storage is opened."""
  try:
    yield
  except UserError:
    raise
  except _OPENING_ERRORS as error:
    cause = error.__cause__ or error
    text = ' '.join(str(getattr(cause, 'orig', None) or cause).split())[:200]
    raise UserError(
      f'--storage: {where} cannot be opened ({type(cause).__name__}: {text})'
    ) from error
