"""STL-10's binary files in the official layout."""

import pathlib

import numpy as np
import pytest

from cifar_jax.data import stl10
from cifar_jax.utils.errors import UserError

# [N, H, W, C]; the file has a plane of each color, column after column.
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)


def write(folder: pathlib.Path, labels: bytes = bytes([1, 10])) -> pathlib.Path:
  folder.mkdir()
  content = b''.join(image[:, :, color].T.tobytes() for image in IMAGES for color in range(3))
  for part in ('train', 'test'):
    (folder / f'{part}_X.bin').write_bytes(content)
    (folder / f'{part}_y.bin').write_bytes(labels)
  return folder


def test_images_are_upright_and_labels_from_0(tmp_path: pathlib.Path) -> None:
  folder = write(tmp_path / 'stl10_binary')
  assert stl10.find('stl10', tmp_path) == folder
  dataset = stl10.read('stl10', folder)
  np.testing.assert_array_equal(dataset.train.images, IMAGES)
  assert dataset.test.labels.tolist() == [0, 9]
  assert [dataset.class_names[label] for label in dataset.test.labels] == ['airplane', 'truck']


def test_what_is_wrong_is_told(tmp_path: pathlib.Path) -> None:
  for label in (0, 11):
    folder = write(tmp_path / f'{label}', bytes([1, label]))
    said = rf'train_y\.bin holds the label {label}; expected labels from 1 to 10'
    with pytest.raises(UserError, match=said):
      stl10.read('stl10', folder)
  (folder / 'train_y.bin').write_bytes(bytes([1]))
  with pytest.raises(UserError, match=r'train_X\.bin has 55296 bytes and train_y\.bin 1 labels'):
    stl10.read('stl10', folder)
  (folder / 'train_X.bin').unlink()
  with pytest.raises(UserError, match=r'lacks train_X\.bin'):
    stl10.read('stl10', folder)
