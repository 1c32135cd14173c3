"""TFDS behind our interface: a stand-in for its module, and once the real one."""

import importlib.util
import pathlib
import socket
import subprocess
import sys
import types
from typing import Any

import numpy as np
import pytest

from cifar_jax.data import tfds
from cifar_jax.utils.errors import UserError

_IMAGES = np.arange(3 * 4 * 5 * 3, dtype=np.uint8).reshape(3, 4, 5, 3)
_LABELS = np.array([1, 0, 1])


class Builder:
  """What this package uses of a TFDS builder."""

  url_infos = types.MappingProxyType({'https://host.invalid/file.tar.gz': None})
  data_dir = '/prepared/here'

  def __init__(
    self,
    shape: Any = (4, 5, 3),
    prepared: bool = True,
    splits: Any = ('train', 'test'),
    file_format: str = 'tfrecord',
  ):
    image = types.SimpleNamespace(shape=shape)
    label = types.SimpleNamespace(num_classes=2, names=['cat', 'dog'])
    self.info = types.SimpleNamespace(features={'image': image, 'label': label, 'id': None})
    self.info.file_format = types.SimpleNamespace(value=file_format)
    self.prepared, self.splits, self.downloads = prepared, splits, 0

  def is_prepared(self) -> bool:
    return self.prepared

  def download_and_prepare(self) -> None:
    self.downloads += 1

  def as_dataset(self, split: str, batch_size: int) -> dict[str, np.ndarray]:
    assert batch_size == -1
    if split not in self.splits:
      raise ValueError(f'Unknown split {split!r}.\n Should be one of ...')
    return {'image': _IMAGES, 'label': _LABELS}

  def as_data_source(self, split: str) -> list[dict[str, Any]]:
    assert self.info.file_format.value == 'array_record'
    return [{'image': i, 'label': n} for i, n in zip(_IMAGES, _LABELS, strict=True)]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
  """Puts a builder in the place of TFDS."""
  hidden: list[Any] = []
  tensorflow = types.SimpleNamespace(
    config=types.SimpleNamespace(set_visible_devices=lambda *arguments: hidden.append(arguments))
  )

  def install(builder: Builder, tensorflow: Any = tensorflow) -> list[Any]:
    module = types.SimpleNamespace(
      builder=lambda name, data_dir: builder, builder_from_directory=lambda path: builder
    )
    monkeypatch.setitem(sys.modules, 'tensorflow', tensorflow)
    monkeypatch.setitem(sys.modules, 'tensorflow_datasets', module)
    return hidden

  return install


def check(dataset: Any) -> None:
  np.testing.assert_array_equal(dataset.train.images, _IMAGES)
  np.testing.assert_array_equal(dataset.test.labels, _LABELS)
  assert dataset.test.labels.dtype == np.int32
  assert dataset.class_names == ('cat', 'dog')


def test_reads_prepared_data_without_gpus(install: Any) -> None:
  hidden = install(Builder())
  dataset = tfds.read('pets', pathlib.Path('/somewhere'))
  check(dataset)
  assert dataset.source == '/somewhere'
  assert hidden == [([], 'GPU')]


def test_downloads_only_what_is_not_prepared(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
  asked: list[Any] = []

  def connect(address: Any, timeout: float) -> Any:
    asked.append((address, timeout))
    return types.SimpleNamespace(close=lambda: None)

  monkeypatch.setattr(socket, 'create_connection', connect)
  monkeypatch.setattr(tfds.urllib.request, 'getproxies', dict)
  for prepared, downloads in ((True, 0), (False, 1)):
    builder = Builder(prepared=prepared)
    install(builder)
    check(tfds.download('pets'))
    assert builder.downloads == downloads
  assert asked == [(('host.invalid', 443), 5)]


def test_without_a_network_fails_at_once(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
  def connect(*_: Any, **__: Any) -> Any:
    raise socket.gaierror(-2, 'Name or service not known')

  monkeypatch.setattr(socket, 'create_connection', connect)
  monkeypatch.setattr(tfds.urllib.request, 'getproxies', dict)
  builder = Builder(prepared=False)
  install(builder)
  with pytest.raises(UserError, match=r'host.invalid cannot be reached .*not known'):
    tfds.download('pets')
  assert builder.downloads == 0


def test_behind_a_proxy_the_download_itself_decides(
  install: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setattr(socket, 'create_connection', lambda *_, **__: pytest.fail('asked directly'))
  monkeypatch.setattr(tfds.urllib.request, 'getproxies', lambda: {'https': 'proxy'})
  builder = Builder(prepared=False)
  builder.download_and_prepare = lambda: 1 / 0  # type: ignore[method-assign,assignment]
  install(builder)
  with pytest.raises(UserError, match=r'TFDS cannot prepare it .ZeroDivisionError'):
    tfds.download('pets')


@pytest.mark.parametrize('shape', [(None, None, 3), (4, 5), None])
def test_refuses_images_of_no_fixed_size(install: Any, shape: Any) -> None:
  install(Builder(shape=shape))
  with pytest.raises(UserError, match=r'--config.data.name=pets: this TFDS data set has no uint8'):
    tfds.download('pets')


def test_a_missing_split_is_one_sentence(install: Any) -> None:
  install(Builder(splits=('train',)))
  with pytest.raises(UserError, match=r"cannot be read by TFDS .*Unknown split 'test'") as caught:
    tfds.read('pets', pathlib.Path('/somewhere'))
  assert '\n' not in str(caught.value)


def test_without_tfds_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
  monkeypatch.setitem(sys.modules, 'tensorflow_datasets', None)
  with pytest.raises(UserError, match=r'^TFDS cannot be imported .*--config.data.dir'):
    tfds.names()


def test_reads_array_records_without_tensorflow(install: Any) -> None:
  install(Builder(file_format='array_record'), tensorflow=None)
  check(tfds.read('pets', pathlib.Path('/somewhere')))


@pytest.mark.parametrize('name', ['pets', 'cifar10'])
def test_what_needs_tensorflow_says_so(install: Any, name: str) -> None:
  end = r": pip install -e '\.\[tfds\]'"
  end += ', or python -m cifar_jax data fetch cifar10' if name == 'cifar10' else ''
  builder = Builder(prepared=False)
  install(builder, tensorflow=None)
  with pytest.raises(
    UserError, match=rf'^preparing the TFDS data set {name} needs TensorFlow \(.*\){end}$'
  ):
    tfds.download(name)
  assert builder.downloads == 0
  with pytest.raises(
    UserError,
    match=rf'^reading the tfrecord files in /some/where, which TFDS prepared, needs .*{end}$',
  ):
    tfds.read(name, pathlib.Path('/some/where'))


def test_finds_the_newest_prepared_version(tmp_path: pathlib.Path) -> None:
  assert tfds.find('cifar10', tmp_path) is None
  for version in ('3.0.2', '3.0.10', '2.9.9'):
    (tmp_path / 'cifar10' / version).mkdir(parents=True)
  assert tfds.find('cifar10', tmp_path) is None  # Not prepared: their description is missing.
  for version in ('3.0.2', '3.0.10', '2.9.9'):
    (tmp_path / 'cifar10' / version / 'dataset_info.json').write_text('{}')
  newest = tmp_path / 'cifar10' / '3.0.10'
  assert tfds.find('cifar10', tmp_path) == tfds.find('cifar10', newest) == newest
  assert tfds.sources(newest) == [newest / 'dataset_info.json']
  assert tfds.find('cifar100', newest) is None


def test_importing_this_package_imports_no_tensorflow() -> None:
  code = (
    'import sys, cifar_jax.data; print({"tensorflow", "tensorflow_datasets"} & set(sys.modules))'
  )
  root = pathlib.Path(__file__).parents[2]
  output = subprocess.run(
    [sys.executable, '-c', code], cwd=root, check=True, capture_output=True, text=True
  ).stdout
  assert output.strip() == 'set()'


WRITE = """
import sys
import numpy as np, tensorflow_datasets
def part(count):
  return [(i, {'image': np.full((4, 5, 3), i, np.uint8), 'label': i % 2}) for i in range(count)]
features = tensorflow_datasets.features
tensorflow_datasets.dataset_builders.store_as_tfds_dataset(
  name='pets', version='1.0.0', data_dir=sys.argv[1], file_format=sys.argv[2],
  disable_shuffling=True, split_datasets={'train': part(7), 'test': part(3)},
  features=features.FeaturesDict({
    'image': features.Image(shape=(4, 5, 3)), 'label': features.ClassLabel(names=['cat', 'dog'])}))
"""
READ = """
import importlib.machinery, pathlib, sys
class Hides(importlib.machinery.PathFinder):
  @classmethod
  def find_spec(cls, name, *rest):
    return None if name.partition('.')[0] == 'tensorflow' else super().find_spec(name, *rest)
if sys.argv[2] == 'array_record':
  finders = sys.meta_path
  finders[:] = [Hides if f is importlib.machinery.PathFinder else f for f in finders]
from cifar_jax.data import tfds
dataset = tfds.read('pets', tfds.find('pets', pathlib.Path(sys.argv[1])))
assert dataset.train.images[:, 0, 0, 0].tolist() == list(range(7))
assert dataset.train.images.shape == (7, 4, 5, 3)
assert dataset.test.labels.tolist() == [0, 1, 0]
assert dataset.class_names == ('cat', 'dog')
"""


@pytest.mark.slow
@pytest.mark.parametrize('file_format', ['tfrecord', 'array_record'])
def test_the_real_tfds(tmp_path: pathlib.Path, file_format: str) -> None:
  """Writes a small data set with TFDS, and reads it in another process, if it can without
  TensorFlow.
  """
  if importlib.util.find_spec('tensorflow') is None:
    pytest.skip('TFDS writes images by TensorFlow')
  root = pathlib.Path(__file__).parents[2]
  for code in (WRITE, READ):
    result = subprocess.run(
      [sys.executable, '-c', code, str(tmp_path), file_format],
      cwd=root,
      check=False,
      capture_output=True,
      text=True,
    )
    assert result.returncode == 0, result.stderr[-2000:]
