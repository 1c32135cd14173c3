"""Data sets of a dozen images in the place of the published ones, and what a download left."""

import hashlib
import pathlib
import struct

import numpy as np
import pytest

from cifar_jax.data import cifar_files, fetch, idx
from cifar_jax.data.fetch.download import Patience
from cifar_jax.data.fetch.mirrors import PACKAGES, Package
from tests.helpers import official_files

QUICK = Patience(connect=1, silence=0.5, trial=0.1, worthwhile=0.5, pause=0.01, tries=2)


BATCHES = [f'data_batch_{i}' for i in range(1, 6)]


COUNTS = {'train': 10, 'test': 2}


def md5(content: bytes) -> str:
  return hashlib.md5(content).hexdigest()


def rows(batches: dict[str, tuple[np.ndarray, list[int]]], names: list[str]) -> np.ndarray:
  records = b''.join(official_files.binary_records(*batches[name]) for name in names)
  return np.frombuffer(records, np.uint8).reshape(-1, 3073)


def install(monkeypatch: pytest.MonkeyPatch, package: Package) -> None:
  monkeypatch.setitem(PACKAGES, package.name, package)


def get(name: str, folder: pathlib.Path, *addresses: str, said: list[str] | None = None):
  said = [] if said is None else said
  return fetch.fetch(name, folder, addresses, said.append, QUICK)


def check_cifar10(folder: pathlib.Path, batches) -> None:
  """The readers find what the batches hold, in the official order."""
  dataset = cifar_files.read('cifar10', cifar_files.find('cifar10', folder))
  pixels = np.concatenate([batches[name][0] for name in BATCHES])
  np.testing.assert_array_equal(dataset.train.images, official_files.images_of(pixels))
  assert dataset.train.labels.tolist() == [i for name in BATCHES for i in batches[name][1]]
  assert dataset.test.labels.tolist() == batches['test_batch'][1]


def visible(folder: pathlib.Path) -> list[str]:
  return sorted(path.name for path in folder.iterdir() if not path.name.startswith('.'))


def idx_file(array: np.ndarray) -> bytes:
  return struct.pack(f'>4B{array.ndim}I', 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def check_fashion(folder: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
  dataset = idx.read('fashion_mnist', idx.find('fashion_mnist', folder))
  train, labels, test, test_labels = (arrays[name] for name in idx.FILES)
  np.testing.assert_array_equal(dataset.train.images[..., 0], train)
  np.testing.assert_array_equal(dataset.test.images[..., 0], test)
  assert dataset.train.labels.tolist() == labels.tolist()
  assert dataset.test.labels.tolist() == test_labels.tolist()
  assert dataset.notes == ()
