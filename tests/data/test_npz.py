"""Data sets in one .npz file."""

import pathlib
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cifar_jax.data import npz
from cifar_jax.errors import UserError
from tests.data.only_user_errors import only_user_errors


def arrays(**changes: Any) -> dict[str, Any]:
  generator = np.random.default_rng(0)
  whole = {
    'x_train': generator.integers(0, 256, (6, 4, 5, 3), dtype=np.uint8),
    'y_train': np.array([0, 1, 2, 0, 1, 2]),
    'x_test': generator.integers(0, 256, (3, 4, 5, 3), dtype=np.uint8),
    'y_test': np.array([2, 1, 0]),
    **changes,
  }
  return {name: array for name, array in whole.items() if array is not None}


def write(path: pathlib.Path, **changes: Any) -> pathlib.Path:
  np.savez(path, **arrays(**changes))
  return path


def test_reads_the_names_of_keras(tmp_path: pathlib.Path) -> None:
  path = write(tmp_path / 'mine.npz')
  dataset = npz.read('mine', path)
  np.testing.assert_array_equal(dataset.train.images, arrays()['x_train'])
  np.testing.assert_array_equal(dataset.test.labels, [2, 1, 0])
  assert dataset.train.labels.dtype == np.int32
  assert dataset.class_names == ('0', '1', '2')
  assert (dataset.name, dataset.source) == ('mine', str(path))


def test_reads_the_names_of_tensorflow_tutorials(tmp_path: pathlib.Path) -> None:
  whole = arrays()
  names = {'x_train': 'train_images', 'y_train': 'train_labels'}
  names |= {'x_test': 'test_images', 'y_test': 'test_labels'}
  np.savez(tmp_path / 'a.npz', **{names[key]: array for key, array in whole.items()})
  dataset = npz.read('a', tmp_path / 'a.npz')
  np.testing.assert_array_equal(dataset.test.images, whole['x_test'])


def test_grey_images_and_columns_of_labels(tmp_path: pathlib.Path) -> None:
  grey = {'x_train': np.ones((6, 4, 5), np.uint8), 'x_test': np.ones((3, 4, 5), np.uint8)}
  columns = {'y_train': np.zeros((6, 1), np.uint8), 'y_test': np.ones((3, 1), np.int64)}
  dataset = npz.read('a', write(tmp_path / 'a.npz', **grey, **columns))
  assert dataset.train.images.shape == (6, 4, 5, 1)
  assert dataset.train.labels.shape == (6,)
  assert dataset.class_names == ('0', '1')


@pytest.mark.parametrize('kind', ['U', 'S'])
def test_class_names(tmp_path: pathlib.Path, kind: str) -> None:
  names = np.array(['cat', 'dog', 'eel', 'fox'], kind)
  dataset = npz.read('a', write(tmp_path / 'a.npz', class_names=names))
  assert dataset.class_names == ('cat', 'dog', 'eel', 'fox')


def test_is_found_by_path_or_by_name(tmp_path: pathlib.Path) -> None:
  path = write(tmp_path / 'mnist.npz')
  assert npz.find('anything', path) == npz.find('mnist', tmp_path) == path
  assert npz.find('anything', tmp_path) is None


@pytest.mark.parametrize(
  ('changes', 'complaint'),
  [
    ({'y_test': None}, 'no complete set of the arrays x_train, y_train, x_test, y_test'),
    ({'x_train': np.zeros((6, 4, 5, 3), np.float32)}, 'x_train, holds images of type float32'),
    ({'x_train': np.zeros((6, 4), np.uint8)}, r'shape \[6, 4\]'),
    ({'x_train': np.zeros((0, 4, 5, 3), np.uint8)}, r'shape \[0, 4, 5, 3\]'),
    ({'y_train': np.zeros(5, int)}, '6 images but 5 labels'),
    ({'y_train': np.zeros(6)}, 'labels of type float64'),
    ({'y_train': np.eye(6, dtype=int)}, r'labels of type int64 and shape \[6, 6\]'),
    ({'y_test': np.array([0, 1, -1])}, 'label -1'),
    ({'y_test': np.array([0, 1, 10**12])}, 'label 1000000000000'),
    ({'class_names': np.array(['a', 'b'])}, 'label 2; expected labels from 0 to 1'),
    ({'x_test': np.zeros((3, 5, 5, 3), np.uint8)}, r'\[4, 5, 3\] to train on and \[5, 5, 3\]'),
    ({'y_train': np.array([{}, 1, 2, 0, 1, 2], object)}, 'cannot be read as an .npz'),
  ],
)
def test_says_what_is_wrong(
  tmp_path: pathlib.Path, changes: dict[str, Any], complaint: str
) -> None:
  with pytest.raises(UserError, match=rf'a.npz.*{complaint}'):
    npz.read('a', write(tmp_path / 'a.npz', **changes))


@settings(
  max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damage_raises_nothing_but_user_errors(tmp_path: pathlib.Path, data: st.DataObject) -> None:
  path = write(tmp_path / 'damaged.npz')
  content = bytearray(path.read_bytes())
  for _ in range(data.draw(st.integers(0, 4))):
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
  path.write_bytes(content[: data.draw(st.one_of(st.none(), st.integers(0, len(content))))])
  with only_user_errors(naming='damaged.npz'):
    npz.read('a', path)


def test_an_archive_that_unpacks_to_too_much(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  path = tmp_path / 'bomb.npz'
  np.savez_compressed(path, x_train=np.zeros(10_000_000, np.uint8))
  assert path.stat().st_size < 100_000
  monkeypatch.setattr(npz, '_MOST_BYTES', 1_000_000)
  with pytest.raises(UserError, match=r'bomb\.npz cannot be read .*unpacks to 10,000,\d+ bytes'):
    npz.read('a', path)
