"""Small data sets on servers of this machine."""

import dataclasses
import gzip
from collections.abc import Iterator

import numpy as np
import pytest

from cifar_jax.data import cifar_files, idx
from cifar_jax.data.fetch import contents, mirrors
from cifar_jax.data.fetch.mirrors import PACKAGES
from tests.helpers import official_files
from tests.helpers.fetched import (
  BATCHES,
  COUNTS,
  idx_file,
  install,
  md5,
  rows,
)
from tests.helpers.file_server import Site, serving


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
  """A server that is the only mirror of official files, and may be the hub."""
  monkeypatch.setenv('NO_PROXY', '127.0.0.1')
  monkeypatch.delenv(mirrors.VARIABLE, raising=False)
  monkeypatch.setenv('HF_ENDPOINT', 'http://127.0.0.1:1')
  with serving(Site({})) as site:
    yield site


@pytest.fixture
def cifar10(site, tmp_path, monkeypatch) -> dict[str, tuple[np.ndarray, list[int]]]:
  """Puts two images a batch in the place of CIFAR-10, on the server too; batch -> its content."""
  batches = {
    name: official_files.random_batch(seed, 2) for seed, name in enumerate([*BATCHES, 'test_batch'])
  }
  monkeypatch.setattr(
    cifar_files,
    'VERSIONS',
    tuple(dataclasses.replace(v, train_records=2, test_records=2) for v in cifar_files.VERSIONS),
  )
  files = {name: official_files.python2_pickle(*batch) for name, batch in batches.items()}
  archive = official_files.write_archive(tmp_path / 'a.tgz', 'cifar-10-batches-py', files)
  content = archive.read_bytes()
  archive.unlink()
  binary = {f'{n}.bin': md5(official_files.binary_records(*b)) for n, b in batches.items()}
  package = dataclasses.replace(
    PACKAGES['cifar10'],
    packed={'cifar-10-python.tar.gz': (len(content), md5(content))},
    unpacked={
      'train': {name: binary[name] for name in list(binary)[:5]},
      'test': {'test_batch.bin': binary['test_batch.bin']},
    },
    counts=COUNTS,
    addresses=(f'{site.url}/{{}}',),
    unordered={
      split: contents.unordered(rows(batches, names))
      for split, names in (('train', BATCHES), ('test', ['test_batch']))
    },
  )
  install(monkeypatch, package)
  site.files['/cifar-10-python.tar.gz'] = content
  return batches


@pytest.fixture
def fashion(site, monkeypatch) -> dict[str, np.ndarray]:
  """Puts a dozen images in the place of Fashion-MNIST, on the server too."""
  generator = np.random.default_rng(0)
  shapes = {'train-images': (10, 28, 28), 'train-labels': (10,)}
  shapes |= {'t10k-images': (2, 28, 28), 't10k-labels': (2,)}
  arrays = {
    f'{name}-idx{len(shape)}-ubyte': generator.integers(0, 10, shape, dtype=np.uint8)
    for name, shape in shapes.items()
  }
  packed = {f'{name}.gz': gzip.compress(idx_file(array)) for name, array in arrays.items()}
  package = PACKAGES['fashion_mnist']
  install(
    monkeypatch,
    dataclasses.replace(
      package,
      packed={name: (len(content), md5(content)) for name, content in packed.items()},
      unpacked={
        split: {file: md5(idx_file(arrays[file])) for file in files}
        for split, files in package.unpacked.items()
      },
      counts=COUNTS,
      addresses=(f'{site.url}/a/{{}}',),
    ),
  )
  sums = tuple(md5(packed[f'{name}.gz']) for name in idx.FILES)
  monkeypatch.setitem(idx.MD5, 'fashion_mnist', sums)
  site.files |= {f'/a/{name}': content for name, content in packed.items()}
  return arrays
