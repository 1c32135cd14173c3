"""The official CIFAR files in all their versions: small ones, and the real ones where present."""

import dataclasses
import hashlib
import os
import pathlib
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cifar_jax.data import cifar_files
from cifar_jax.utils.errors import UserError
from tests.helpers import official_files
from tests.helpers.only_user_errors import only_user_errors

_COUNT = 6  # images per batch, instead of 10,000 or 50,000


@pytest.fixture(autouse=True)
def _small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
  if 'full_size' not in request.node.name:
    versions = tuple(
      dataclasses.replace(version, train_records=_COUNT, test_records=_COUNT)
      for version in cifar_files.VERSIONS
    )
    monkeypatch.setattr(cifar_files, 'VERSIONS', versions)


def cifar10_files(version: str) -> tuple[dict[str, bytes], np.ndarray, list[int]]:
  """The six files, and the training images and labels that they hold."""
  writers: dict[str, Callable[[np.ndarray, list[int]], bytes]] = {
    'py2': official_files.python2_pickle,
    'py3': official_files.python3_pickle,
    'bin': official_files.binary_records,
  }
  suffix = '.bin' if version == 'bin' else ''
  names = [f'data_batch_{i}{suffix}' for i in range(1, 6)] + [f'test_batch{suffix}']
  batches = [official_files.random_batch(seed, _COUNT) for seed in range(6)]
  files = {name: writers[version](*batch) for name, batch in zip(names, batches, strict=True)}
  images = np.concatenate([official_files.images_of(pixels) for pixels, _ in batches[:5]])
  return files, images, [label for _, labels in batches[:5] for label in labels]


_FOLDERS = {
  'py2': 'cifar-10-batches-py',
  'py3': 'cifar-10-batches-py',
  'bin': 'cifar-10-batches-bin',
}
_ARCHIVES = {
  'py2': 'cifar-10-python.tar.gz',
  'py3': 'cifar-10-python.tar.gz',
  'bin': 'cifar-10-binary.tar.gz',
}


@pytest.mark.parametrize('packed', [False, True])
@pytest.mark.parametrize('version', ['py2', 'py3', 'bin'])
def test_reads_cifar10_in_the_official_order(
  tmp_path: pathlib.Path, version: str, packed: bool
) -> None:
  files, images, labels = cifar10_files(version)
  if packed:
    shuffled = dict(reversed(files.items()))  # The order inside an archive means nothing.
    path = official_files.write_archive(tmp_path / _ARCHIVES[version], _FOLDERS[version], shuffled)
  else:
    path = official_files.write_folder(tmp_path / _FOLDERS[version], files)
  # Found as the folder or archive itself and from the folder around it.
  assert cifar_files.find('cifar10', path) == cifar_files.find('cifar10', tmp_path) == path
  dataset = cifar_files.read('cifar10', path)
  np.testing.assert_array_equal(dataset.train.images, images)
  np.testing.assert_array_equal(dataset.train.labels, labels)
  assert dataset.train.images.dtype == np.uint8
  assert dataset.train.labels.dtype == dataset.test.labels.dtype == np.int32
  expected_test, expected_labels = official_files.random_batch(5, _COUNT)
  np.testing.assert_array_equal(dataset.test.images, official_files.images_of(expected_test))
  np.testing.assert_array_equal(dataset.test.labels, expected_labels)
  assert dataset.class_names[:2] == ('airplane', 'automobile')
  assert dataset.source == str(path)
  assert not dataset.synthetic


@pytest.mark.parametrize('version', ['py2', 'py3', 'bin'])
def test_reads_the_fine_labels_of_cifar100(tmp_path: pathlib.Path, version: str) -> None:
  train, test = (official_files.random_batch(seed, _COUNT, 100) for seed in (0, 1))
  if version == 'bin':
    files = {
      'train.bin': official_files.binary_records(*train, coarse=True),
      'test.bin': official_files.binary_records(*test, coarse=True),
    }
    folder = 'cifar-100-binary'
  else:
    write = official_files.python2_pickle if version == 'py2' else official_files.python3_pickle
    files = {'train': write(*train, b'fine_labels'), 'test': write(*test, b'fine_labels')}
    folder = 'cifar-100-python'
  path = official_files.write_folder(tmp_path / folder, files)
  assert cifar_files.find('cifar100', tmp_path) == path
  dataset = cifar_files.read('cifar100', path)
  np.testing.assert_array_equal(dataset.train.images, official_files.images_of(train[0]))
  np.testing.assert_array_equal(dataset.train.labels, train[1])
  np.testing.assert_array_equal(dataset.test.labels, test[1])
  assert len(dataset.class_names) == 100


@pytest.mark.parametrize('version', ['py', 'bin'])
def test_reads_the_coarse_labels_of_cifar100(tmp_path: pathlib.Path, version: str) -> None:
  pixels, _ = official_files.random_batch(0, _COUNT)
  fine, coarse = [1, 99, 50, 7, 0, 1], [19, 0, 7, 7, 3, 2]
  if version == 'bin':
    records = b''.join(
      bytes(labels) + row.tobytes() for *labels, row in zip(coarse, fine, pixels, strict=True)
    )
    files, folder = {'train.bin': records, 'test.bin': records}, 'cifar-100-binary'
  else:
    batch = {b'fine_labels': fine, b'coarse_labels': coarse, b'data': pixels}
    files = dict.fromkeys(('train', 'test'), pickle.dumps(batch, protocol=2))
    folder = 'cifar-100-python'
  path = official_files.write_folder(tmp_path / folder, files)
  assert cifar_files.find('cifar100_coarse', tmp_path) == path
  dataset = cifar_files.read('cifar100_coarse', path)
  assert dataset.name == 'cifar100_coarse'
  assert dataset.train.labels.tolist() == dataset.test.labels.tolist() == coarse
  assert cifar_files.read('cifar100', path).train.labels.tolist() == fine
  assert len(set(dataset.class_names)) == 20
  # As in the published list: the first, one in the middle, the last.
  assert [dataset.class_names[i] for i in (0, 9, 19)] == [
    'aquatic_mammals',
    'large_man-made_outdoor_things',
    'vehicles_2',
  ]


def test_files_with_other_sums_than_the_published_ones_are_told(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  files, *_ = cifar10_files('py3')
  path = official_files.write_folder(tmp_path / _FOLDERS['py3'], files)
  (note,) = cifar_files.read('cifar10', path).notes
  assert 'not the published files of cifar10' in note
  assert all(name in note for name in files)
  for name, content in files.items():
    monkeypatch.setitem(cifar_files._MD5, name, hashlib.md5(content).hexdigest())
  assert not cifar_files.read('cifar10', path).notes
  monkeypatch.setitem(cifar_files._MD5, 'data_batch_3', '0' * 32)
  (note,) = cifar_files.read('cifar10', path).notes
  assert 'data_batch_3' in note
  assert 'data_batch_2' not in note


def test_a_binary_archive_is_compared_as_a_whole(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  files, *_ = cifar10_files('bin')
  path = official_files.write_archive(tmp_path / _ARCHIVES['bin'], _FOLDERS['bin'], files)
  (note,) = cifar_files.read('cifar10', path).notes
  assert _ARCHIVES['bin'] in note
  found = hashlib.md5(path.read_bytes()).hexdigest()
  monkeypatch.setitem(cifar_files._MD5, _ARCHIVES['bin'], found)
  assert not cifar_files.read('cifar10', path).notes
  # Of unpacked binary files no sums are published.
  folder = official_files.write_folder(tmp_path / _FOLDERS['bin'], files)
  assert not cifar_files.read('cifar10', folder).notes


def test_class_names() -> None:
  names = cifar_files.CIFAR100_CLASSES
  assert len(set(names)) == 100
  assert list(names) == sorted(names)
  # Anchors along the published list.
  anchors = {0: 'apple', 9: 'bottle', 23: 'cloud', 47: 'maple_tree', 58: 'pickup_truck'}
  anchors |= {68: 'road', 70: 'rose', 81: 'streetcar', 90: 'train', 99: 'worm'}
  assert {index: names[index] for index in anchors} == anchors
  expected = 'airplane automobile bird cat deer dog frog horse ship truck'
  assert ' '.join(cifar_files.CIFAR10_CLASSES) == expected


def test_finds_what_keras_leaves(tmp_path: pathlib.Path) -> None:
  files, _, _ = cifar10_files('py2')
  inner = tmp_path / 'cifar-10-batches-py-target' / 'cifar-10-batches-py'
  official_files.write_folder(inner, files)
  assert cifar_files.find('cifar10', tmp_path) == inner


def test_finds_nothing_in_folders_of_pictures(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'train').mkdir()
  (tmp_path / 'test').mkdir()
  assert cifar_files.find('cifar100', tmp_path) is None
  assert cifar_files.find('cifar10', tmp_path / 'absent') is None
  assert cifar_files.find('mnist', tmp_path) is None


@pytest.mark.parametrize('version', ['py2', 'bin'])
def test_names_missing_batches(tmp_path: pathlib.Path, version: str) -> None:
  files, _, _ = cifar10_files(version)
  missing = sorted(files)[2]
  del files[missing]
  path = official_files.write_folder(tmp_path / _FOLDERS[version], files)
  with pytest.raises(UserError, match=rf'{_FOLDERS[version]} lacks {missing};'):
    cifar_files.read('cifar10', path)


def test_an_archive_of_something_else(tmp_path: pathlib.Path) -> None:
  path = official_files.write_archive(tmp_path / 'a.tar.gz', 'folder', {'train': b''})
  with pytest.raises(UserError, match=r'a.tar.gz holds no batch of cifar10'):
    cifar_files.read('cifar10', path)


def _batch(**entries: object) -> bytes:
  pixels, labels = official_files.random_batch(0, _COUNT)
  batch: dict[str, object] = {'data': pixels, 'labels': labels, **entries}
  return pickle.dumps({k: v for k, v in batch.items() if v is not None}, protocol=2)


@pytest.mark.parametrize(
  ('content', 'complaint'),
  [
    (_batch(data=None), "no entry 'data'"),
    (_batch(labels=None), "no entry 'labels'"),
    (_batch(data=[1, 2]), 'data is no array'),
    (_batch(data=np.zeros((_COUNT, 3071), np.uint8)), r'shape \[6, 3071\]; expected \[6, 3072\]'),
    (_batch(data=np.zeros((_COUNT - 1, 3072), np.uint8)), r'shape \[5, 3072\]'),
    (_batch(data=np.zeros((_COUNT, 500), np.float32)), "type 'f4' instead of uint8"),
    (_batch(labels=[0] * (_COUNT - 1)), '6 images but 5 labels'),
    (_batch(labels=[0] * (_COUNT - 1) + [10]), 'label 10; expected labels from 0 to 9'),
    (_batch(labels=[0] * (_COUNT - 1) + [-1]), 'label -1'),
    (_batch(labels=[0] * (_COUNT - 1) + [1 << 70]), 'out of range'),
    (_batch(labels=[0.5] * _COUNT), 'no list of integers'),
    (_batch()[:-1000], 'damaged'),
    (_batch() + bytes(500_000), r'has \d+ bytes, more than'),
  ],
)
def test_names_the_batch_that_is_wrong(
  tmp_path: pathlib.Path, content: bytes, complaint: str
) -> None:
  files, _, _ = cifar10_files('py2')
  path = official_files.write_folder(tmp_path / 'any', files | {'data_batch_3': content})
  with pytest.raises(UserError, match=rf'data_batch_3.*{complaint}'):
    cifar_files.read('cifar10', path)


@pytest.mark.parametrize(
  ('damage', 'complaint'),
  [
    (lambda content: content[:-1], r'has 18437 bytes; expected 18438'),
    (lambda content: content + b'x', r'has 18439 bytes'),
    (lambda content: b'\x0a' + content[1:], 'label 10'),
  ],
)
def test_names_the_binary_file_that_is_wrong(
  tmp_path: pathlib.Path, damage: Callable[[bytes], bytes], complaint: str
) -> None:
  files, _, _ = cifar10_files('bin')
  files['test_batch.bin'] = damage(files['test_batch.bin'])
  path = official_files.write_folder(tmp_path / 'any', files)
  with pytest.raises(UserError, match=rf'test_batch.bin.*{complaint}'):
    cifar_files.read('cifar10', path)


@settings(
  max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damage_raises_nothing_but_user_errors(tmp_path: pathlib.Path, data: st.DataObject) -> None:
  version = data.draw(st.sampled_from(['py2', 'py3', 'bin']))
  files, _, _ = cifar10_files(version)
  name = data.draw(st.sampled_from(sorted(files)))
  content = bytearray(files[name])
  for _ in range(data.draw(st.integers(0, 3))):
    near_an_end = st.one_of(st.integers(0, 200), st.integers(len(content) - 50, len(content) - 1))
    content[data.draw(near_an_end)] = data.draw(st.integers(0, 255))
  files[name] = bytes(content[: data.draw(st.one_of(st.none(), st.integers(0, len(content))))])
  path = official_files.write_folder(tmp_path / version, files)
  with only_user_errors(naming=str(path / name)):
    dataset = cifar_files.read('cifar10', path)
    assert dataset.train.labels.max() < 10


def test_full_size_batches_are_expected() -> None:
  sizes = {
    v.archives[0]: (len(v.train) * v.train_records, v.test_records) for v in cifar_files.VERSIONS
  }
  assert len(sizes) == 4
  assert set(sizes.values()) == {(50_000, 10_000)}


@pytest.fixture
def real_data() -> pathlib.Path:
  folder = os.environ.get('CIFAR_JAX_DATA')
  path = folder and cifar_files.find('cifar10', pathlib.Path(folder))
  if not path:
    pytest.skip('$CIFAR_JAX_DATA holds no CIFAR-10')
  return path


def test_full_size_real_data(real_data: pathlib.Path) -> None:
  dataset = cifar_files.read('cifar10', real_data)
  assert not dataset.notes  # the published MD5s
  # The first images are a frog, two trucks, a deer and a car; a cat, two ships and an airplane.
  assert dataset.train.labels[:5].tolist() == [6, 9, 9, 4, 1]
  assert dataset.test.labels[:4].tolist() == [3, 8, 8, 0]
  assert np.bincount(dataset.train.labels).tolist() == [5_000] * 10
  assert np.bincount(dataset.test.labels).tolist() == [1_000] * 10
  assert dataset.train.images.shape == (50_000, 32, 32, 3)
  assert dataset.test.images.shape == (10_000, 32, 32, 3)
  names = real_data.parent / 'cifar-10-batches-bin' / 'batches.meta.txt'
  if names.is_file():
    assert dataset.class_names == tuple(names.read_text('utf-8').split())
  # Mean and standard deviation of the channels, known from many publications.
  values = np.arange(256) / 255
  for channel, mean, deviation in ((0, 0.4914, 0.2470), (1, 0.4822, 0.2435), (2, 0.4465, 0.2616)):
    counts = np.bincount(dataset.train.images[..., channel].ravel(), minlength=256)
    share = counts / counts.sum()
    assert abs(share @ values - mean) < 5e-5
    assert abs(np.sqrt(share @ (values - share @ values) ** 2) - deviation) < 5e-5


def test_full_size_python_and_binary_versions_are_equal(real_data: pathlib.Path) -> None:
  python, binary = (
    real_data.parent / folder for folder in ('cifar-10-batches-py', 'cifar-10-batches-bin')
  )
  if not (python.is_dir() and binary.is_dir()):
    pytest.skip('only one of the two versions is there')
  one, other = cifar_files.read('cifar10', python), cifar_files.read('cifar10', binary)
  for part in ('train', 'test'):
    np.testing.assert_array_equal(getattr(one, part).images, getattr(other, part).images)
    np.testing.assert_array_equal(getattr(one, part).labels, getattr(other, part).labels)
