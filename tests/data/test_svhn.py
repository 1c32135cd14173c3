"""SVHN's MATLAB files, as scipy.io.savemat writes them in the official layout."""

import io
import pathlib
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import scipy.io

from cifar_jax.data import svhn
from cifar_jax.utils.errors import UserError
from tests.helpers.memory import little_memory
from tests.helpers.mutations import mutations
from tests.helpers.only_user_errors import only_user_errors

IMAGES = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 4), dtype=np.uint8)
LABELS = np.uint8([[1], [10], [9], [2]])


def write(folder: pathlib.Path, *names: str, packed: bool = True, **changes: Any) -> pathlib.Path:
  folder.mkdir(exist_ok=True)
  for name in names:
    arrays = {'X': IMAGES, 'y': LABELS, **changes}
    scipy.io.savemat(folder / f'{name}_32x32.mat', arrays, do_compression=packed)
  return folder


@pytest.mark.parametrize('packed', [True, False])
def test_images_and_labels_are_where_they_belong(tmp_path: pathlib.Path, packed: bool) -> None:
  folder = write(tmp_path, 'train', 'test', packed=packed)
  assert svhn.find('svhn_cropped', folder) == folder
  dataset = svhn.read('svhn_cropped', folder)
  assert dataset.train.images.shape == (4, 32, 32, 3)
  for number, row, column, channel in [(0, 0, 0, 0), (3, 31, 30, 2), (2, 5, 17, 1)]:
    expected = IMAGES[row, column, channel, number]
    assert dataset.train.images[number, row, column, channel] == expected
  assert dataset.train.labels.tolist() == [1, 0, 9, 2]
  assert dataset.class_names[0] == '0'
  assert dataset.test.labels.dtype == np.int32
  assert 'SVHN: the label 10 is the digit 0' in dataset.notes


def test_labels_may_be_floating_numbers_in_a_row(tmp_path: pathlib.Path) -> None:
  """As another copy of the files has them."""
  folder = write(tmp_path, 'train', 'test', y=np.float64([[1, 10, 9, 2]]))
  assert svhn.read('svhn_cropped', folder).train.labels.tolist() == [1, 0, 9, 2]


def test_extra_images_are_trained_on_by_name(tmp_path: pathlib.Path) -> None:
  folder = write(tmp_path, 'train', 'test')
  write(folder, 'extra', X=255 - IMAGES, y=LABELS[::-1])
  dataset = svhn.read('svhn_extra', folder)
  assert dataset.train.labels.tolist() == [1, 0, 9, 2, 2, 9, 0, 1]
  assert (dataset.train.images[4] == 255 - dataset.train.images[0]).all()
  assert len(svhn.read('svhn_cropped', folder).train) == 4


@pytest.mark.parametrize(
  ('changes', 'complaint'),
  [
    ({'X': IMAGES.transpose(3, 0, 1, 2)}, r'holds X uint8 \[4, 32, 32, 3\].*; expected X uint8'),
    ({'X': IMAGES.astype(float)}, r'holds X double \[32, 32, 3, 4\]'),
    ({'y': LABELS[:3]}, r'y uint8 \[3, 1\]'),
    ({'y': np.uint8([[1], [10], [0], [2]])}, 'the labels 0 and 10'),
    ({'y': np.uint8([[1], [11], [3], [2]])}, 'the label 11'),
    ({'y': np.float64([[1.5], [10], [3], [2]])}, 'no whole numbers'),
    ({'y': np.array([[{'a': 1}]], object)}, r'y cell'),
    ({'X': {'a': 1}}, 'X struct'),
  ],
)
def test_other_arrays_are_refused(
  tmp_path: pathlib.Path, changes: dict[str, Any], complaint: str
) -> None:
  folder = write(tmp_path, 'train', 'test', **changes)
  with pytest.raises(UserError, match=rf'train_32x32\.mat.*{complaint}'):
    svhn.read('svhn_cropped', folder)


def test_a_missing_file_and_another_version_are_told(tmp_path: pathlib.Path) -> None:
  folder = write(tmp_path, 'train')
  with pytest.raises(UserError, match=r'lacks test_32x32\.mat'):
    svhn.read('svhn_cropped', folder)
  for content in (b'\x89HDF\r\n\x1a\n' + bytes(600), bytes(200)):
    (folder / 'train_32x32.mat').write_bytes(content)
    with pytest.raises(UserError, match=r'train_32x32\.mat (is no MATLAB|cannot be read)'):
      svhn.read('svhn_cropped', folder)


def test_a_file_that_unpacks_to_more_than_it_announces(tmp_path: pathlib.Path) -> None:
  """The dimensions of four images, and in the packed element sixteen megabytes of pixels."""
  stored = io.BytesIO()
  scipy.io.savemat(stored, {'X': IMAGES, 'y': LABELS})
  content = stored.getvalue()
  size = struct.unpack_from('<I', content, 132)[0]
  element, data = content[136 : 136 + size], struct.pack('<II', 2, IMAGES.size)
  start = element.index(data)
  element = element[:start] + struct.pack('<II', 2, 1 << 24) + bytes(1 << 24)
  packed = zlib.compress(struct.pack('<II', 14, len(element)) + element)
  folder = write(tmp_path, 'test')
  path = folder / 'train_32x32.mat'
  path.write_bytes(
    content[:128] + struct.pack('<II', 15, len(packed)) + packed + content[136 + size :]
  )
  with pytest.raises(UserError, match=r'train_32x32\.mat cannot be read .*or unpacks to more than'):
    svhn.read('svhn_cropped', folder)


@pytest.mark.parametrize('packed', [pytest.param(True, marks=pytest.mark.thorough), False])
def test_damage_raises_nothing_but_user_errors(tmp_path: pathlib.Path, packed: bool) -> None:
  folder = write(tmp_path, 'train', 'test', packed=packed)
  path = folder / 'train_32x32.mat'
  with little_memory():
    for content in mutations(path.read_bytes(), 300):
      path.write_bytes(content)
      with only_user_errors(naming='train_32x32.mat'):
        svhn.read('svhn_cropped', folder)
