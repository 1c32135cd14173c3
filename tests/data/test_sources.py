"""The search: explicit places first and alone, official files before TFDS, and a helpful end."""

import dataclasses
import pathlib

import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax import data
from cifar_jax.data import cifar_files, fetch, sources, tfds
from cifar_jax.data.dataset import Dataset, Split
from cifar_jax.data.preprocessing import Preprocessing
from cifar_jax.utils.errors import UserError
from configs import base
from tests.helpers import idx_files, npz_files, official_files


def load(name: str, directory: pathlib.Path | str = '') -> Dataset:
  return data.load(ConfigDict({'name': name, 'dir': str(directory)}))


@pytest.fixture(autouse=True)
def home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
  """An empty home, working directory and environment, small official batches, no TFDS."""
  for variable in ('CIFAR_JAX_DATA', 'TFDS_DATA_DIR', 'KERAS_HOME', 'XDG_CACHE_HOME'):
    monkeypatch.delenv(variable, raising=False)
  home = tmp_path / 'home'
  home.mkdir()
  monkeypatch.setenv('HOME', str(home))
  monkeypatch.setenv('CIFAR_JAX_CACHE', str(tmp_path / 'cache'))
  monkeypatch.chdir(home)
  small = [dataclasses.replace(v, train_records=2, test_records=2) for v in cifar_files.VERSIONS]
  monkeypatch.setattr(cifar_files, 'VERSIONS', tuple(small))

  def no_network(name: str) -> Dataset:
    raise UserError('the host cannot be reached (no network).')

  monkeypatch.setattr(fetch, 'fetch', no_network)
  monkeypatch.setattr(tfds, 'download', no_network)
  monkeypatch.setattr(tfds, 'names', lambda: ['cifar10', 'eurosat', 'svhn_cropped'])
  return home


def write_cifar10(folder: pathlib.Path, label: int) -> pathlib.Path:
  """A binary version whose labels are all the same, to tell one copy from another."""
  records = official_files.binary_records(np.zeros((2, 3072), np.uint8), [label, label])
  names = [f'data_batch_{i}.bin' for i in range(1, 6)] + ['test_batch.bin']
  return official_files.write_folder(folder, dict.fromkeys(names, records))


def test_synthetic_needs_nothing() -> None:
  assert load('synthetic').synthetic


def test_an_npz_file_serves_any_name(tmp_path: pathlib.Path) -> None:
  path = npz_files.write(tmp_path / 'mine.npz')
  dataset = load('whatever', path)
  assert (dataset.name, dataset.source) == ('whatever', str(path))
  np.testing.assert_array_equal(dataset.train.images, npz_files.arrays()['x_train'])


def test_the_usual_places_in_their_order(
  home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  own = tmp_path / 'own'
  own.mkdir()
  monkeypatch.setenv('CIFAR_JAX_DATA', str(own))
  places = [tmp_path / 'cache' / 'datasets', home / 'tensorflow_datasets']
  places += [home / '.keras' / 'datasets', home / 'data', own]
  for label, place in enumerate(places):  # From the last resort to the first choice.
    write_cifar10(place / 'cifar-10-batches-bin', label)
    dataset = load('cifar10')
    assert dataset.source == str(place / 'cifar-10-batches-bin')
    assert set(dataset.train.labels.tolist()) == {label}


def test_a_place_is_told_without_loading_anything(
  home: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  assert sources.locate('cifar10') is None
  write_cifar10(tmp_path / 'own', 1)
  monkeypatch.setenv('CIFAR_JAX_DATA', str(tmp_path / 'own'))
  assert sources.locate('cifar10') == tmp_path / 'own'
  assert sources.locate('cifar100') is None
  monkeypatch.setattr(cifar_files, 'read', lambda *_: pytest.fail('it was read'))
  assert sources.locate('cifar10') == tmp_path / 'own'


def test_a_user_without_a_home_finds_what_is_elsewhere(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  """It was a RuntimeError: a container may run under a number that is no user's."""
  monkeypatch.delenv('HOME')
  monkeypatch.setattr('os.path.expanduser', lambda path: path)
  monkeypatch.setenv('CIFAR_JAX_DATA', str(tmp_path / 'own'))
  write_cifar10(tmp_path / 'own', 1)
  assert sources.locate('cifar10') == tmp_path / 'own'
  assert sources.locate('mnist') is None


def test_an_explicit_place_is_the_only_one(home: pathlib.Path, tmp_path: pathlib.Path) -> None:
  write_cifar10(home / 'data' / 'cifar-10-batches-bin', 1)
  empty = tmp_path / 'empty'
  empty.mkdir()
  with pytest.raises(UserError, match=rf'--config.data.dir={empty} holds no cifar10'):
    load('cifar10', empty)
  with pytest.raises(UserError, match=r'--config.data.dir=/absent does not exist'):
    load('cifar10', '/absent')
  write_cifar10(empty, 3)
  assert set(load('cifar10', empty).train.labels.tolist()) == {3}


def test_the_archive_itself_and_a_tilde(home: pathlib.Path) -> None:
  folder = write_cifar10(home / 'somewhere', 4)
  files = {path.name: path.read_bytes() for path in folder.iterdir()}
  official_files.write_archive(home / 'renamed.tgz', 'cifar-10-batches-bin', files)
  assert set(load('cifar10', '~/renamed.tgz').test.labels.tolist()) == {4}


def test_a_damaged_copy_is_an_error_not_skipped(home: pathlib.Path) -> None:
  folder = write_cifar10(home / 'data' / 'cifar-10-batches-bin', 1)
  write_cifar10(home / '.keras' / 'datasets' / 'cifar-10-batches-bin', 1)
  (folder / 'test_batch.bin').write_bytes(b'')
  with pytest.raises(UserError, match=r'data/cifar-10-batches-bin/test_batch.bin has 0 bytes'):
    load('cifar10')


def test_official_files_are_cached(home: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
  write_cifar10(home / 'data' / 'cifar-10-batches-bin', 1)
  first = load('cifar10')
  monkeypatch.setattr(cifar_files, 'read', lambda *_: pytest.fail('read again'))
  again = load('cifar10')
  np.testing.assert_array_equal(first.train.images, again.train.images)
  assert again.class_names == cifar_files.CIFAR10_CLASSES


def test_mnist_of_torchvision_and_of_keras(home: pathlib.Path) -> None:
  keras = home / '.keras' / 'datasets'
  keras.mkdir(parents=True)
  white = np.full((6, 4, 5), 255, np.uint8)
  gray = {'x_train': white, 'x_test': white[:3]}
  npz_files.write(keras / 'mnist.npz', **gray)
  assert load('mnist').train.images.shape == (6, 4, 5, 1)
  idx_files.write(home / 'data' / 'MNIST' / 'raw', idx_files.files(), packed=True)
  assert load('mnist').train.images.shape == (2, 3, 4, 1)


def test_prepared_tfds_data_come_after_official_files(
  home: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  prepared = home / 'tensorflow_datasets' / 'cifar10' / '3.0.2'
  prepared.mkdir(parents=True)
  (prepared / 'dataset_info.json').write_text('{}')
  part = Split(np.zeros((1, 2, 2, 3), np.uint8), np.zeros(1, np.int32))

  def read(name: str, path: pathlib.Path) -> Dataset:
    return Dataset(name, part, part, ('a',), source=str(path))

  monkeypatch.setattr(tfds, 'read', read)
  assert load('cifar10').source == str(prepared)
  assert load('cifar10', home / 'tensorflow_datasets').source == str(prepared)
  write_cifar10(home / '.keras' / 'datasets' / 'cifar-10-batches-bin', 1)
  assert '.keras' in load('cifar10').source


@pytest.mark.parametrize('name', ['cifar10', 'cifar100', 'mnist', 'eurosat'])
def test_the_last_word_lists_every_place_and_what_to_do(home: pathlib.Path, name: str) -> None:
  with pytest.raises(UserError) as caught:
    load(name)
  message = str(caught.value)
  for place in ('data', '.keras/datasets', 'tensorflow_datasets', '../cache/datasets'):
    assert str((home / place).resolve()) in caught.value.details[-1]
  for word in (
    f'{name} is not on',
    'no network',
    '--config.data.dir',
    '--config.data.name=synthetic',
  ):
    assert word in message
  assert '\n' not in message


@pytest.mark.parametrize(
  ('name', 'suggestion'),
  [
    ('cifar-10', 'cifar10'),
    ('cifar_100', 'cifar100'),
    ('sythetic', 'synthetic'),
    ('eurosatt', 'eurosat'),
    ('svhn', 'svhn_cropped'),
    ('SVHN', 'svhn_cropped'),
  ],
)
def test_suggests_the_nearest_name(name: str, suggestion: str) -> None:
  with pytest.raises(UserError, match=rf'data.name={name} is unknown; did you mean {suggestion}\?'):
    load(name)


@pytest.mark.parametrize(
  ('name', 'files', 'said'),
  [
    ('mine', ['a.npy', 'b.npy'], ['holds no mine, but a.npy, b.npy', 'mine.npz', 'numpy.savez']),
    ('mine', ['model.pt'], ['but model.pt', 'numpy.savez(file, x_train=']),
    ('mnist', ['digits.bin'], ['train-images-idx3-ubyte', 't10k-labels-idx1-ubyte', 'mnist.npz']),
    (
      'emnist',
      ['emnist-letters-train-images-idx3-ubyte.gz'],
      ['did you mean --config.data.name=emnist_letters?'],
    ),
    ('cifar10', ['x.txt'], ['cifar-10-batches-py', 'cifar-10-binary.tar.gz']),
    ('cifar100_coarse', [], ['python -m cifar_jax data fetch cifar100_coarse --dir=']),
    ('cifar-10', ['x.txt'], ['did you mean --config.data.name=cifar10?']),
    ('mine', [f'{i}.txt' for i in range(9)], ['0.txt, 1.txt, 2.txt, 3.txt, 4.txt, 4 more']),
    (
      'mine',
      [],
      ['but nothing; understood are mine.npz', 'image folders by --config'],
    ),
  ],
)
def test_a_place_without_the_data_is_told_what_is_understood(
  tmp_path: pathlib.Path, name: str, files: list[str], said: list[str]
) -> None:
  place = tmp_path / 'place'
  place.mkdir()
  for file in files:
    (place / file).write_bytes(b'x')
  with pytest.raises(UserError) as caught:
    load(name, place)
  for words in said:
    assert words in str(caught.value)


def test_a_file_of_another_kind(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'x.npy').write_bytes(b'x')
  with pytest.raises(UserError, match=r'x\.npy holds no mine, but x\.npy; .*numpy\.savez'):
    load('mine', tmp_path / 'x.npy')


@pytest.mark.parametrize('name', ['', 'x' * 5000, 'a\0b', 'a\nb'])
def test_what_can_be_no_name(name: str) -> None:
  with pytest.raises(UserError, match=r'^--config.data.name=.* is no name; use one of') as caught:
    load(name)
  assert str(caught.value).isprintable()
  assert len(str(caught.value)) < 500


def test_lists_names_where_none_is_near() -> None:
  with pytest.raises(UserError, match=r'data.name=qqqq is unknown; use one of synthetic, cifar10'):
    load('qqqq')


def test_the_known_names_are_unique() -> None:
  assert len(set(sources.KNOWN_NAMES)) == len(sources.KNOWN_NAMES)


def test_both_splits_are_made_to_fit() -> None:
  part = Split(np.full((4, 8, 8, 3), 7, np.uint8), np.zeros(4, np.int32))
  config = base.get_config().data
  config.channels, config.pad_to = 1, 10
  adapted = sources.convert_channels_and_pad(Dataset('x', part, part, ('a',), 'here'), config)
  assert adapted.train.images.shape == adapted.test.images.shape == (4, 10, 10, 1)
  assert adapted.train.images.dtype == np.uint8
  assert adapted.preprocessing == Preprocessing(8, 8, source_channels=3, channels=1, pad_to=10)
