"""Entries of the cache: read, made where missing, whole for all who look at the same time."""

import pathlib
import threading

import pytest

from cifar_jax.utils import cache
from cifar_jax.utils.cache import CacheEntry
from cifar_jax.utils.errors import UserError


def entry_of(path: pathlib.Path) -> CacheEntry[str]:
  return CacheEntry(path, lambda found: (found / 'text').read_text('utf-8'))


def writer(text: str, before=lambda: None):
  def write(path: pathlib.Path) -> None:
    path.mkdir()
    (path / 'text').write_text(text, 'utf-8')
    before()

  return write


def test_a_folder_that_cannot_be_written_is_told_with_what_to_do(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
  (tmp_path / 'file').touch()
  monkeypatch.setenv('CIFAR_JAX_CACHE', str(tmp_path / 'new'))
  cache.warn_if_unwritable()
  assert capsys.readouterr() == ('', '')
  monkeypatch.setenv('CIFAR_JAX_CACHE', str(tmp_path / 'file/cache'))
  cache.warn_if_unwritable()
  assert capsys.readouterr().err == (
    f'WARNING: {tmp_path}/file/cache cannot be written (Not a directory), so that every start '
    'compiles and prepares data anew; choose another folder: '
    'export CIFAR_JAX_CACHE=/a/folder/with/room\n'
  )


def test_made_once_and_again_where_it_is_damaged(tmp_path: pathlib.Path) -> None:
  entry = entry_of(tmp_path / 'cache' / 'entry')
  assert entry.load() is None
  assert entry.load_or_store(writer('a'), 'texts', 'do without') == 'a'
  assert entry.load_or_store(writer('b'), 'texts', 'do without') == 'a'
  (entry.path / 'text').write_bytes(b'\xff')  # no UTF-8
  assert entry.load() is None
  assert entry.load_or_store(writer('c'), 'texts', 'do without') == 'c'
  assert list(entry.path.parent.iterdir()) == [entry.path]


@pytest.mark.parametrize('there', [False, True])
def test_two_writers_at_once(tmp_path: pathlib.Path, there: bool) -> None:
  """Both have a whole draft before either takes the place."""
  entry, barrier = entry_of(tmp_path / 'entry'), threading.Barrier(2)
  if there:
    entry.store(writer('old'))
  problems: list[BaseException] = []

  def store(text: str) -> None:
    try:
      entry.store(writer(text, lambda: barrier.wait(20)))
    except BaseException as error:
      problems.append(error)

  threads = [threading.Thread(target=store, args=(text,)) for text in 'ab']
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert not problems
  assert entry.load() in ('a', 'b')
  assert list(tmp_path.iterdir()) == [entry.path]


def test_a_writer_that_fails_leaves_what_was_there(tmp_path: pathlib.Path) -> None:
  entry = entry_of(tmp_path / 'entry')
  entry.store(writer('old'))

  def full() -> None:
    raise OSError(28, 'No space left on device')

  with pytest.raises(OSError, match='No space'):
    entry.store(writer('new', full))
  assert entry.load() == 'old'
  assert list(tmp_path.iterdir()) == [entry.path]


def test_what_a_user_is_told(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'file').write_bytes(b'')  # nobody, not even root, can write below it
  entry = entry_of(tmp_path / 'file' / 'entry')
  with pytest.raises(UserError, match=r'file cannot keep texts .*; make room.*, or do without$'):
    entry.load_or_store(writer('a'), 'texts', 'do without')
  broken = CacheEntry(tmp_path / 'entry', lambda path: int(path.read_text()))
  with pytest.raises(UserError, match='entry was written but cannot be read back'):
    broken.load_or_store(lambda path: path.write_text('no number'), 'numbers', 'do without')
