"""JSON files of folders that may come from anywhere."""

import os
import pathlib
import sys

import pytest

from cifar_jax.utils import json_files
from cifar_jax.utils.errors import UserError


@pytest.mark.skipif(sys.platform == 'win32', reason='it has no such files')
@pytest.mark.parametrize(
  ('make', 'sentence'),
  [
    (lambda path: path.symlink_to('/dev/zero'), 'it is no regular file'),
    (os.mkfifo, 'it is no regular file'),
    (lambda path: path.mkdir(), 'it is no regular file'),
    (lambda path: path.symlink_to('nowhere'), 'it is a link to nothing'),
  ],
)
def test_what_is_no_file_is_not_read(make, sentence, tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'config.json'
  make(path)
  with pytest.raises(UserError, match=rf'config\.json is damaged \({sentence}\)'):
    json_files.read(path)


def test_a_large_file_is_not_read(tmp_path: pathlib.Path) -> None:
  path = tmp_path / 'about.json'
  path.touch()
  os.truncate(path, 2**40)  # nothing but a hole
  with pytest.raises(UserError, match=r'it has 1,099,511,627,776 bytes, more than 268,435,456'):
    json_files.read(path)
  with pytest.raises(FileNotFoundError):
    json_files.read(tmp_path / 'none.json')


def test_what_mends_a_file(tmp_path: pathlib.Path) -> None:
  """A run can write some of its files again; what came from elsewhere comes from there again."""
  (tmp_path / 'config.json').write_text('{"epochs": ')
  with pytest.raises(UserError, match=r'restore it from a copy, or delete it and run the training'):
    json_files.read(tmp_path / 'config.json')
  (tmp_path / 'model.safetensors').touch()
  with pytest.raises(UserError, match=r'\); delete the model folder, then fetch or copy it again'):
    json_files.read(tmp_path / 'config.json')
  assert 'training' not in str(json_files.damaged(tmp_path / 'config.json', 'it is cut'))
