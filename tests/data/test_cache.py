"""The prepared cache: quick, honest about its source, and never in the way."""

import json
import os
import pathlib

import numpy as np
import pytest

from cifar_jax.data import cache
from cifar_jax.data.dataset import Dataset, Split


class Source:
  """A file of one byte: the value of every pixel. Counts how often it is read."""

  def __init__(self, path: pathlib.Path):
    self.path, self.times_read = path, 0
    self.write(1)

  def write(self, value: int) -> None:
    self.path.write_bytes(bytes([value]))
    # Two writes can fall into one tick of the file system's clock.
    stat = self.path.stat()
    os.utime(self.path, ns=(stat.st_atime_ns, stat.st_mtime_ns + value * 1_000_000))

  def read(self) -> Dataset:
    self.times_read += 1
    value = self.path.read_bytes()[0]
    train, test = (
      Split(np.full((n, 2, 2, 3), value, np.uint8), np.arange(n, dtype=np.int32) % 2)
      for n in (5, 3)
    )
    return Dataset('name', train, test, ('a', 'b'), source=str(self.path), notes=('so',))

  def load(self) -> Dataset:
    dataset = cache.through_cache('name', self.path, [self.path], self.read)
    # Whatever the cache did, these are the images of the source as it is now.
    expected = self.path.read_bytes()[0]
    assert dataset.train.images.shape == (5, 2, 2, 3)
    assert (dataset.train.images == expected).all()
    assert (dataset.test.images == expected).all()
    assert dataset.test.labels.tolist() == [0, 1, 0]
    assert dataset.train.labels.dtype == np.int32
    assert (dataset.class_names, dataset.source) == (('a', 'b'), str(self.path))
    assert dataset.notes == ('so',)
    return dataset


@pytest.fixture
def folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
  monkeypatch.setenv('CIFAR_JAX_CACHE', str(tmp_path / 'cache'))
  return tmp_path / 'cache'


@pytest.fixture
def source(tmp_path: pathlib.Path, folder: pathlib.Path) -> Source:
  return Source(tmp_path / 'source')


def test_reads_once(source: Source, folder: pathlib.Path) -> None:
  source.load()
  assert len(list(folder.iterdir())) == 1  # One entry and no drafts.
  for _ in range(2):
    source.load()
  assert source.times_read == 1


def test_another_content_time_or_place_is_another_entry(
  source: Source, folder: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  source.load()
  source.write(2)
  source.load()
  assert source.times_read == 2
  assert len(list(folder.iterdir())) == 1  # Replaced: entries do not pile up.
  other = Source(tmp_path / 'other')
  other.write(2)
  other.load()
  assert other.times_read == 1
  source.load()
  assert source.times_read == 2


@pytest.mark.parametrize(
  'name',
  ['meta.json', 'train_images.npy', 'train_labels.npy', 'test_images.npy', 'test_labels.npy'],
)
@pytest.mark.parametrize('damage', ['cut', 'empty', 'absent', 'noise', 'folder'])
def test_rebuilds_a_damaged_entry_silently(
  source: Source, folder: pathlib.Path, name: str, damage: str
) -> None:
  source.load()
  (path,) = folder.glob(f'*/{name}')
  content = path.read_bytes()
  path.unlink()
  if damage == 'folder':
    path.mkdir()
  elif damage != 'absent':
    path.write_bytes({'cut': content[:-1], 'empty': b'', 'noise': b'\xff' * len(content)}[damage])
  source.load()
  assert source.times_read == 2
  source.load()
  assert source.times_read == 2


@pytest.mark.parametrize(
  ('key', 'value'),
  [
    ('format', 0),
    ('class_names', ['a']),
    ('class_names', 3),
    ('shapes', {}),
    ('files', []),
    ('source', ''),
  ],
)
def test_rebuilds_an_entry_whose_description_is_wrong(
  source: Source, folder: pathlib.Path, key: str, value: object
) -> None:
  source.load()
  (path,) = folder.glob('*/meta.json')
  path.write_text(json.dumps(json.loads(path.read_text('utf-8')) | {key: value}), 'utf-8')
  source.load()
  assert source.times_read == 2


def test_a_folder_that_cannot_be_written_is_no_error(source: Source, folder: pathlib.Path) -> None:
  folder.write_bytes(b'')  # A file in its place: nobody, not even root, can write below it.
  source.load()
  source.load()
  assert source.times_read == 2


def test_a_failing_write_leaves_nothing(
  source: Source, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  def full(*_: object) -> None:
    raise OSError('no space left on device')

  monkeypatch.setattr(cache.np, 'save', full)
  source.load()
  assert list(folder.iterdir()) == []
