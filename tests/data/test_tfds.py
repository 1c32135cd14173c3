"""TFDS behind our interface: a stand-in for its module, and once the real one."""

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
    self, shape: Any = (4, 5, 3), prepared: bool = True, splits: Any = ('train', 'test')
  ):
    image = types.SimpleNamespace(shape=shape)
    label = types.SimpleNamespace(num_classes=2, names=['cat', 'dog'])
    self.info = types.SimpleNamespace(features={'image': image, 'label': label, 'id': None})
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


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
  """Puts a builder in the place of TFDS."""
  hidden: list[Any] = []
  tensorflow = types.SimpleNamespace(
    config=types.SimpleNamespace(set_visible_devices=lambda *arguments: hidden.append(arguments))
  )

  def install(builder: Builder) -> list[Any]:
    module = types.SimpleNamespace(
      builder=lambda name, data_dir: builder, builder_from_directory=lambda path: builder
    )
    modules = {'tensorflow': tensorflow, 'tensorflow_datasets': module}
    monkeypatch.setattr(tfds, '_import', modules.__getitem__)
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
  with pytest.raises(UserError, match=r'needs tensorflow and tensorflow-datasets'):
    tfds.names()


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


@pytest.mark.slow
def test_the_real_tfds(tmp_path: pathlib.Path) -> None:
  """Writes a small data set with TFDS and reads it back, in a process of its own."""
  pytest.importorskip('importlib_resources', reason='TFDS needs it to write')
  code = f"""
import pathlib
import numpy as np, tensorflow_datasets
from cifar_jax.data import tfds
def part(count):
  return [(i, {{'image': np.full((4, 5, 3), i, np.uint8), 'label': i % 2}}) for i in range(count)]
features = tensorflow_datasets.features
tensorflow_datasets.dataset_builders.store_as_tfds_dataset(
  name='pets', version='1.0.0', data_dir={str(tmp_path)!r}, disable_shuffling=True,
  features=features.FeaturesDict({{
    'image': features.Image(shape=(4, 5, 3)), 'label': features.ClassLabel(names=['cat', 'dog'])}}),
  split_datasets={{'train': part(7), 'test': part(3)}})
path = tfds.find('pets', pathlib.Path({str(tmp_path)!r}))
dataset = tfds.read('pets', path)
assert dataset.train.images[:, 0, 0, 0].tolist() == list(range(7))
assert dataset.train.images.shape == (7, 4, 5, 3)
assert dataset.test.labels.tolist() == [0, 1, 0]
assert dataset.class_names == ('cat', 'dog')
"""
  root = pathlib.Path(__file__).parents[2]
  result = subprocess.run(
    [sys.executable, '-c', code], cwd=root, check=False, capture_output=True, text=True
  )
  assert result.returncode == 0, result.stderr[-2000:]
