"""Files and folders that are the old ones or the whole new ones; folders that cannot be made."""

import pathlib

import pytest

from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import disk_errors, make_folder, replacing


def test_a_file_is_the_old_one_until_the_new_one_is_whole(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'file'
  path.write_text('old')
  with replacing(path) as draft:
    draft.write_text('new')
    assert path.read_text() == 'old'
  assert path.read_text() == 'new'

  def fail() -> None:
    with replacing(path) as draft:
      draft.write_text('half')
      raise ValueError('no more')

  with pytest.raises(ValueError, match='no more'):
    fail()
  assert path.read_text() == 'new'
  assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_written_over(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'file'
  with replacing(path) as draft:
    draft.write_text('whole')
    left = draft
  left.write_text('a longer half of another')
  with replacing(path) as draft:
    draft.write_text('new')
  assert path.read_text() == 'new'
  assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_one_that_is_not_empty(tmp_path: pathlib.Path) -> None:
  path = make_folder(tmp_path / 'around' / 'folder')
  (path / 'old').write_text('')
  with replacing(path) as draft:
    draft.mkdir()
    (draft / 'new').write_text('')
  assert [found.name for found in path.iterdir()] == ['new']


def test_a_folder_that_cannot_be_made(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'file').write_text('')  # nobody, not even root, can make a folder below it
  with pytest.raises(UserError, match=r'^cannot make the run folder .*file/run: Not a directory$'):
    make_folder(tmp_path / 'file' / 'run', 'run folder')


def test_a_disk_that_takes_no_large_file_is_named(tmp_path) -> None:
  written = 'OUT_OF_RANGE: Failed to write 338948 bytes to file 18: File too large'  # TensorStore
  with (
    pytest.raises(UserError, match=r'cannot write to .*: files may not be that large there'),
    disk_errors(tmp_path),
  ):
    raise ValueError(written)
