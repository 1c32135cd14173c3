"""Data sets in one .npz file."""

import pathlib
from typing import Any

import numpy as np
import pytest

from cifar_jax.data import load, npz, split
from cifar_jax.utils.errors import UserError
from configs import base
from tests.helpers.npz_files import arrays, write


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


@pytest.mark.parametrize('names', [('x_test', 'Y_test'), ('images', 'labels'), ('x', 'y')])
def test_a_set_that_nothing_is_trained_on(tmp_path: pathlib.Path, names: tuple[str, str]) -> None:
  whole = arrays()
  content = dict(zip(names, (whole['x_train'], whole['y_train']), strict=True))
  np.savez(tmp_path / 'a.npz', **content, class_names=np.array(['cat', 'dog', 'eel']))
  dataset = npz.read('a', tmp_path / 'a.npz', alone=True)
  np.testing.assert_array_equal(dataset.train.images, whole['x_train'])
  assert dataset.train.labels.tolist() == [0, 1, 2, 0, 1, 2]
  assert (len(dataset.test), dataset.class_names) == (0, ('cat', 'dog', 'eel'))
  with pytest.raises(UserError, match='holds no complete set of the arrays'):
    npz.read('a', tmp_path / 'a.npz')


def test_gray_images_and_columns_of_labels(tmp_path: pathlib.Path) -> None:
  gray = {'x_train': np.full((6, 4, 5), 255, np.uint8), 'x_test': np.ones((3, 4, 5), np.uint8)}
  columns = {'y_train': np.uint8([[0], [1], [1], [1], [1], [0]]), 'y_test': np.ones((3, 1), int)}
  dataset = npz.read('a', write(tmp_path / 'a.npz', **gray, **columns))
  assert dataset.train.images.shape == (6, 4, 5, 1)
  assert dataset.train.labels.shape == (6,)
  assert dataset.class_names == ('0', '1')


@pytest.mark.parametrize('dtype', [np.uint8, np.int64, bool, np.float32])
def test_columns_of_0_and_1_are_several_labels(tmp_path: pathlib.Path, dtype: Any) -> None:
  """As of MedMNIST's ChestMNIST, whose test labels may all be single by chance."""
  y_train = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 1], [0, 1, 0], [0, 0, 1]])
  y_test = np.eye(3)
  arrays = {'y_train': y_train.astype(dtype), 'y_test': y_test.astype(dtype)}
  dataset = npz.read('a', write(tmp_path / 'a.npz', **arrays))
  np.testing.assert_array_equal(dataset.train.labels, y_train)
  np.testing.assert_array_equal(dataset.test.labels, y_test)
  assert dataset.train.labels.dtype == dataset.test.labels.dtype == np.uint8
  assert dataset.class_names == ('0', '1', '2')
  assert 'labels in 3 columns of 0 and 1: 1.33 labels an image' in dataset.notes


def test_one_hot_labels_are_several_where_that_is_asked_for(tmp_path: pathlib.Path) -> None:
  one_hot = {'y_train': np.eye(3)[[0, 1, 2, 0, 1, 2]], 'y_test': np.eye(3)[[2, 1, 0]]}
  config = base.get_config().data
  config.name, config.dir = 'a', str(write(tmp_path / 'a.npz', **one_hot))
  np.testing.assert_array_equal(load(config).train.labels, [0, 1, 2, 0, 1, 2])
  config.multi_label = True
  np.testing.assert_array_equal(load(config).train.labels, one_hot['y_train'])
  np.testing.assert_array_equal(load(config).test.labels, one_hot['y_test'])


@pytest.mark.parametrize(
  ('changes', 'complaint'),
  [
    ({'y_test': np.ones((3, 2), int)}, 'in 3 columns to train on and in 2 of test'),
    ({'class_names': np.array(['a', 'b'])}, 'in 3 columns, but 2 class_names'),
  ],
)
def test_columns_that_do_not_fit(tmp_path: pathlib.Path, changes: Any, complaint: str) -> None:
  several = {'y_train': np.ones((6, 3), int), 'y_test': np.ones((3, 3), int), **changes}
  with pytest.raises(UserError, match=rf'a.npz.*{complaint}'):
    npz.read('a', write(tmp_path / 'a.npz', **several))


@pytest.mark.parametrize('dtype', ['float16', 'float32', 'float64'])
def test_floating_pixels_from_0_to_1_are_exact(tmp_path: pathlib.Path, dtype: str) -> None:
  """Every of the 256 levels comes back from k / 255."""
  levels = np.arange(256, dtype=np.uint8)
  images = np.resize(levels, (6, 8, 8, 3))
  tests = images[::-1][:3]
  floats = {'x_train': (images / 255).astype(dtype), 'x_test': (tests / 255).astype(dtype)}
  dataset = npz.read('a', write(tmp_path / 'a.npz', **floats))
  assert dataset.train.images.dtype == np.uint8
  np.testing.assert_array_equal(dataset.train.images, images)
  np.testing.assert_array_equal(dataset.test.images, tests)
  assert dataset.notes[0] == f'x_train: {dtype} from 0 to 1, read as 0 to 255, exactly'


def test_floating_pixels_between_levels_are_rounded_and_that_is_told(
  tmp_path: pathlib.Path,
) -> None:
  images = np.full((6, 4, 5, 3), 0.5)  # 127.5
  images[0, 1, 2] = (0.0, 1.0, 100.2 / 255)
  dataset = npz.read('a', write(tmp_path / 'a.npz', x_train=images))
  assert dataset.train.images[0, 1, 2].tolist() == [0, 255, 100]
  assert 'rounded to the nearest' in dataset.notes[0]


@pytest.mark.parametrize('dtype', ['int64', 'float32', 'uint16'])
def test_whole_numbers_of_another_type_are_as_they_are(tmp_path: pathlib.Path, dtype: str) -> None:
  images = arrays()['x_train']
  dataset = npz.read('a', write(tmp_path / 'a.npz', x_train=images.astype(dtype)))
  np.testing.assert_array_equal(dataset.train.images, images)
  assert f'x_train: {dtype} from 0 to 255' in dataset.notes[0]


def test_floating_channels_first(tmp_path: pathlib.Path) -> None:
  """As PyTorch users save them."""
  images = np.random.default_rng(1).integers(0, 256, (6, 3, 7, 9), dtype=np.uint8)
  floats = (images / np.float32(255)).astype(np.float32)
  dataset = npz.read('a', write(tmp_path / 'a.npz', x_train=floats, x_test=floats[:3]))
  assert dataset.train.images.shape == (6, 7, 9, 3)
  assert dataset.train.images[5, 6, 8, 1] == images[5, 1, 6, 8]


@pytest.mark.parametrize('dtype', ['float32', 'uint8', 'bool'])
def test_one_hot_labels(tmp_path: pathlib.Path, dtype: str) -> None:
  y_train, y_test = [0, 2, 1, 2, 1, 0], [2, 1, 0]
  labels = {'y_train': np.eye(3)[y_train], 'y_test': np.eye(3)[y_test]}
  labels = {name: array.astype(dtype) for name, array in labels.items()}
  dataset = npz.read('a', write(tmp_path / 'a.npz', **labels))
  assert (dataset.train.labels.tolist(), dataset.test.labels.tolist()) == (y_train, y_test)
  assert dataset.train.labels.dtype == np.int32
  assert dataset.notes == ('y_train, y_test: one-hot, read as the number of the column that is 1',)


def test_names_in_capitals_and_no_test_images(tmp_path: pathlib.Path) -> None:
  whole = arrays()
  np.savez(tmp_path / 'a.npz', X_train=whole['x_train'], Y_train=whole['y_train'])
  dataset = npz.read('a', tmp_path / 'a.npz')
  np.testing.assert_array_equal(dataset.train.images, whole['x_train'])
  assert len(dataset.test) == 0
  assert 'the file holds no test images; validation is used as test' in dataset.notes


@pytest.mark.parametrize('groups', [[7, 7, 8, 8, 9, 9], list('aabbcc')])
def test_groups(tmp_path: pathlib.Path, groups: list[Any]) -> None:
  dataset = npz.read('a', write(tmp_path / 'a.npz', groups=np.array(groups)))
  assert dataset.train.groups is not None
  assert dataset.train.groups.tolist() == groups
  assert dataset.train.take(np.array([4, 0])).groups.tolist() == [groups[4], groups[0]]  # type: ignore[union-attr]


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
    ({'x_train': np.array(7)}, r'x_train, holds images of type int64 .*shape \[\]'),
    ({'x_train': np.zeros((6, 4), np.uint8)}, r'shape \[6, 4\]'),
    ({'x_train': np.zeros((0, 4, 5, 3), np.uint8)}, r'shape \[0, 4, 5, 3\]'),
    ({'y_train': np.zeros(5, int)}, '6 images but 5 labels'),
    ({'y_train': np.zeros(6)}, 'labels of type float64'),
    ({'y_train': 2 * np.eye(6, dtype=int)}, r'labels of type int64 and shape \[6, 6\]'),
    ({'y_test': np.array([0, 1, -1])}, 'label -1'),
    ({'y_test': np.array([0, 1, 10**12])}, 'label 1000000000000 in test, of which there is no tr'),
    ({'y_test': np.array([0, 1, 3])}, 'label 3 in test, of which there is no training image'),
    ({'y_train': np.full(6, 2), 'y_test': np.full(3, 2)}, '1 classes of training images'),
    ({'x_train': np.ones((6, 4, 5, 3), bool)}, r'type bool from 1 to 1 .* save \(255 \* images\)'),
    ({'x_train': np.full((6, 4, 5, 3), 9.5)}, r'type float64 from 9.5 to 9.5 .* save \(images\)'),
    ({'x_train': np.full((6, 4, 5, 3), 16, np.uint8)}, r'pixels from 16 to 16; .*\(255 / 16\)'),
    (
      {'y_train': np.eye(6, dtype=int)[:, :3]},
      r'one for each image: for several labels an image, save 0',
    ),
    (
      {'y_train': np.uint8([[1, 1, 0]] * 6)},
      r'one for each image: for several labels an image, save 0',
    ),
    ({'y_train': np.eye(3)[[0, 1, 2, 0, 1, 2]] / 2}, r'shape \[6, 3\].*several labels'),
    (
      {'y_train': np.eye(3)[[0, 1, 2, 0, 1, 2]], 'y_test': np.eye(4)[[0, 1, 2]]},
      'one-hot labels of different numbers of classes, 3 in y_train, 4 in y_test',
    ),
    (
      {'x_train': np.linspace(-1, 1, 360).reshape(6, 4, 5, 3)},
      r'save \(127.5 \* \(images \+ 1\)\)',
    ),
    ({'x_train': np.full((6, 4, 5, 3), np.nan)}, 'holds numbers that are not finite'),
    ({'x_train': np.full((6, 4, 5, 3), 300)}, 'type int64 from 300 to 300'),
    (
      {'x_train': np.full((6, 4, 5, 3), 0.5), 'x_test': np.full((3, 4, 5, 3), 7)},
      'pixels of different ranges, x_train 0 to 1, x_test 0 to 255',
    ),
    ({'x_train': np.zeros((6, 8, 8, 8), np.uint8)}, r'volumes of the shape \[8, 8, 8\]'),
    ({'groups': np.arange(5)}, r'groups, .*shape \[5\].* each of the 6 training images'),
    ({'groups': np.zeros(6)}, 'groups of type float64'),
    ({'y_train': np.array(list('abcabc'))}, r'type <U1 .*return_inverse=True'),
    ({'x_val': np.zeros((2, 4, 5, 3), np.uint8), 'y_val': np.array([0, 7])}, 'label 7 in valid'),
    (
      {'class_names': np.array([b'\xff', b'b', b'c'])},
      'holds bytes that are not UTF-8',
    ),
    (
      {'class_names': np.array(['a', 'b' * 5000, 'c'])},
      r"holds 'bbbbbbbbbb' of 5000 letters",
    ),
    ({'class_names': np.array(['a', 'b\nc', ''])}, r"holds 'b\\nc' of 3 letters"),
    ({'class_names': np.array(['a', 'b', 'a'])}, 'class_names, holds a more than once'),
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


def test_another_set_of_names_is_told_what_was_found(tmp_path: pathlib.Path) -> None:
  np.savez(tmp_path / 'a.npz', X=np.zeros((2, 3, 3)), y=np.zeros(2))
  with pytest.raises(UserError, match=r'it holds X, y: write it with numpy.savez'):
    npz.read('a', tmp_path / 'a.npz')


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_channels_first(tmp_path: pathlib.Path, channels: int) -> None:
  """Every pixel is found at its row and column."""
  images = np.random.default_rng(1).integers(0, 256, (6, channels, 7, 9), dtype=np.uint8)
  dataset = npz.read('a', write(tmp_path / 'a.npz', x_train=images, x_test=images[:3]))
  assert dataset.train.images.shape == (6, 7, 9, channels)
  for place in [(0, 0, 0, 0), (5, 6, 8, channels - 1), (2, 3, 1, 0)]:
    number, row, column, channel = place
    assert dataset.train.images[place] == images[number, channel, row, column]
  assert any('channels first' in note for note in dataset.notes)


@pytest.mark.parametrize('shape', [(6, 4, 5, 3), (6, 3, 5, 3), (6, 8, 8, 4), (6, 3, 3, 5)])
def test_channels_last_stay(tmp_path: pathlib.Path, shape: tuple[int, ...]) -> None:
  images = np.full(shape, 200, np.uint8)
  dataset = npz.read('a', write(tmp_path / 'a.npz', x_train=images, x_test=images[:3]))
  assert dataset.train.images.shape == shape
  assert not dataset.notes


@pytest.mark.parametrize(('numbers'), [(1, 2, 3), (3, 5, 90), (0, 2, 9)])
def test_labels_with_gaps_are_as_many_classes_as_occur(
  tmp_path: pathlib.Path, numbers: tuple[int, ...]
) -> None:
  y_train, y_test = np.array(numbers)[[0, 1, 2, 0, 1, 2]], np.array(numbers)[[2, 1, 0]]
  dataset = npz.read('a', write(tmp_path / 'a.npz', y_train=y_train[:, None], y_test=y_test))
  assert dataset.class_names == tuple(map(str, numbers))
  assert dataset.train.labels.tolist() == [0, 1, 2, 0, 1, 2]
  assert dataset.test.labels.tolist() == [2, 1, 0]
  assert dataset.notes == (
    f'the labels that occur are the 3 classes: {", ".join(map(str, numbers))}',
  )


def test_a_named_class_without_images_is_told(tmp_path: pathlib.Path) -> None:
  names = np.array(['a', 'b', 'c', 'd'])
  dataset = npz.read('a', write(tmp_path / 'a.npz', class_names=names))
  assert dataset.class_names == ('a', 'b', 'c', 'd')
  assert dataset.notes == ('of 1 classes there is no image: d',)


def test_names_as_bytes_are_utf_8(tmp_path: pathlib.Path) -> None:
  names = np.array(['rot', 'grün', '青'])
  encoded = np.array([name.encode() for name in names])
  for form in (names, encoded):
    dataset = npz.read('a', write(tmp_path / 'a.npz', class_names=form))
    assert dataset.class_names == ('rot', 'grün', '青')


def test_validation_images_of_medmnist_are_the_validation_split(tmp_path: pathlib.Path) -> None:
  whole = arrays()
  names = {'x_train': 'train_images', 'y_train': 'train_labels'}
  names |= {'x_test': 'test_images', 'y_test': 'test_labels'}
  content = {names[key]: array for key, array in whole.items()}
  validation = np.random.default_rng(3).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
  np.savez(tmp_path / 'a.npz', **content, val_images=validation, val_labels=np.uint8([[1], [2]]))
  dataset = npz.read('a', tmp_path / 'a.npz')
  splits = split(dataset, '0.5', 'random', 0)
  np.testing.assert_array_equal(splits.validation.images, validation)
  assert splits.validation.labels.tolist() == [1, 2]
  assert len(splits.train) == 6
  assert 'validation: the 2 images of val_images' in dataset.notes


def test_a_file_without_test_images(tmp_path: pathlib.Path) -> None:
  nothing = {'x_test': np.zeros((0, 4, 5, 3), np.uint8), 'y_test': np.zeros(0, int)}
  dataset = npz.read('a', write(tmp_path / 'a.npz', **nothing))
  assert not split(dataset, '2', 'random', 0).has_test


def test_dark_pixels_are_told(tmp_path: pathlib.Path) -> None:
  images = np.random.default_rng(0).integers(0, 64, (6, 4, 5, 3), dtype=np.uint8)
  images[0, 0, 0] = (0, 63, 1)
  dataset = npz.read('a', write(tmp_path / 'a.npz', x_train=images))
  assert dataset.notes == ('pixels are from 0 to 63, and are divided by 255',)
