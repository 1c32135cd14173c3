"""Reading archives in memory: only plain files of the expected names and sizes."""

import gzip
import io
import os
import pathlib
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_jax.data import archives
from cifar_jax.utils.errors import UserError
from tests.helpers.official_files import write_archive, write_folder
from tests.helpers.only_user_errors import only_user_errors

_FILES = {'one': b'first' * 40, 'two': bytes(range(256))}
_LIMITS = {'one': 200, 'two': 300, 'absent': 10}


def test_reads_wanted_files_from_folder_and_archive(tmp_path: pathlib.Path) -> None:
  files = {**_FILES, 'readme.html': b'not wanted'}
  folder = write_folder(tmp_path / 'folder', files)
  archive = write_archive(tmp_path / 'any name', 'folder', files)
  assert archives.read_files(folder, _LIMITS) == _FILES
  assert archives.read_files(archive, _LIMITS) == _FILES


@pytest.mark.parametrize('packed', [False, True])
def test_names_a_file_that_is_too_large(tmp_path: pathlib.Path, packed: bool) -> None:
  files = {'one': b'x' * 201}
  path = (
    write_archive(tmp_path / 'a.tar.gz', 'f', files)
    if packed
    else write_folder(tmp_path / 'f', files)
  )
  with pytest.raises(UserError, match=rf'{path.name}.*one,? has 201 bytes, more than the 200'):
    archives.read_files(path, _LIMITS)


@pytest.mark.parametrize(
  'kind', [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_refuses_members_that_are_no_plain_files(tmp_path: pathlib.Path, kind: bytes) -> None:
  path = tmp_path / 'a.tar.gz'
  with tarfile.open(path, 'w:gz') as tar:
    entry = tarfile.TarInfo('folder/one')
    entry.type, entry.linkname = kind, '/etc/passwd'
    tar.addfile(entry)
  with pytest.raises(UserError, match=r'a.tar.gz, member folder/one, is no plain file'):
    archives.read_files(path, _LIMITS)


@pytest.mark.parametrize('name', ['../one', '/one', 'folder/deeper/one', 'folder/one/..'])
def test_never_writes_and_takes_the_last_part_of_a_name(tmp_path: pathlib.Path, name: str) -> None:
  path = tmp_path / 'in' / 'a.tar.gz'
  path.parent.mkdir()
  with tarfile.open(path, 'w:gz') as tar:
    entry = tarfile.TarInfo(name)
    entry.size = 3
    tar.addfile(entry, io.BytesIO(b'abc'))
  content = archives.read_files(path, _LIMITS)
  assert content in ({}, {'one': b'abc'})
  assert [file for file in tmp_path.rglob('*') if file.is_file()] == [path]


def test_refuses_a_member_that_is_there_twice(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'a.tar.gz'
  with tarfile.open(path, 'w:gz') as tar:
    for _ in range(2):
      tar.addfile(tarfile.TarInfo('folder/one'))
  with pytest.raises(UserError, match=r'twice'):
    archives.read_files(path, _LIMITS)


@pytest.mark.parametrize('name', ['unwanted', 'x' * 200])
def test_stops_a_decompression_bomb(tmp_path: pathlib.Path, name: str) -> None:
  path = write_archive(tmp_path / 'bomb.tar.gz', 'folder', {name: bytes(1 << 25)})
  assert path.stat().st_size < 50_000
  with pytest.raises(UserError, match=r'bomb.tar.gz, unpacked, has \d+ bytes, more than'):
    archives.read_files(path, _LIMITS)


def test_a_wrong_checksum_is_damage(tmp_path: pathlib.Path) -> None:
  path = write_archive(tmp_path / 'a.tar.gz', 'folder', _FILES)
  content = bytearray(path.read_bytes())
  content[-8] ^= 1  # CRC of the unpacked bytes
  path.write_bytes(content)
  with pytest.raises(UserError, match=r'a.tar.gz cannot be read as a .tar.gz .*CRC'):
    archives.read_files(path, _LIMITS)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damage_raises_nothing_but_user_errors(
  tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
  path = write_archive(tmp_path_factory.getbasetemp() / 'damaged.tar.gz', 'folder', _FILES)
  # Damage inside the gzip stream, and, packed again, inside the tar.
  inside = data.draw(st.booleans())
  content = bytearray(gzip.decompress(path.read_bytes()) if inside else path.read_bytes())
  for _ in range(data.draw(st.integers(0, 4))):
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
  content = content[: data.draw(st.integers(0, len(content)))]
  path.write_bytes(gzip.compress(content, 1) if inside else content)
  with only_user_errors(naming='damaged.tar.gz'):
    read = archives.read_files(path, _LIMITS)
    assert all(len(read[name]) <= _LIMITS[name] for name in read)


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='this system has no pipes with names')
def test_names_a_file_that_cannot_be_opened(tmp_path: pathlib.Path) -> None:
  folder = write_folder(tmp_path / 'folder', {})
  os.mkfifo(folder / 'one')  # Opening it would wait for ever.
  with pytest.raises(UserError, match=r'one is no plain file'):
    archives.read_files(folder, _LIMITS)
