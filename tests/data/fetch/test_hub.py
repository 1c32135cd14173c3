"""The PNGs in the hub's Parquet files become official files."""

import dataclasses
import io
import pathlib
import pickle
import re

import numpy as np
import pytest
from PIL import Image

from cifar_jax.data import cifar_files, idx
from cifar_jax.data.fetch.mirrors import PACKAGES
from cifar_jax.utils.errors import UserError
from tests.helpers import official_files
from tests.helpers.fetched import (
  BATCHES,
  check_cifar10,
  check_fashion,
  get,
  install,
  md5,
  visible,
)
from tests.helpers.file_server import Site


def png(image: np.ndarray) -> bytes:
  stream = io.BytesIO()
  Image.fromarray(image.squeeze()).save(stream, 'PNG')
  return stream.getvalue()


def parquet(columns: dict[str, list]) -> bytes:
  pa = pytest.importorskip('pyarrow')
  import pyarrow.parquet

  stream = io.BytesIO()
  pyarrow.parquet.write_table(pa.table(columns), stream, row_group_size=4)
  return stream.getvalue()


def put_on_hub(site: Site, monkeypatch, batches, order: list[str], change=lambda image: image):
  """Makes the server the hub, and refuse the official archive."""
  monkeypatch.setenv('HF_ENDPOINT', site.url)
  hub = PACKAGES['cifar10'].hub
  base = '/datasets/uoft-cs/cifar10/resolve/main/plain_text'
  sizes = []
  for split, names in (('train', order), ('test', ['test_batch'])):
    images = np.concatenate([official_files.images_of(batches[name][0]) for name in names])
    labels = [label for name in names for label in batches[name][1]]
    cells = [{'bytes': png(change(image)), 'path': f'{i}.png'} for i, image in enumerate(images)]
    content = parquet({'img': cells, 'label': labels})
    site.files[f'{base}/{split}-00000-of-00001.parquet'] = content
    sizes.append(len(content))
  install(
    monkeypatch,
    dataclasses.replace(
      PACKAGES['cifar10'], hub=dataclasses.replace(hub, sizes=(sizes[0], sizes[1]))
    ),
  )
  del site.files['/cifar-10-python.tar.gz']


@pytest.mark.parametrize(
  'order', [BATCHES, [f'data_batch_{i}' for i in (4, 3, 2, 5, 1)]], ids=['official', 'archive']
)
def test_the_pngs_of_the_hub_become_official_files(
  site, cifar10, tmp_path, monkeypatch, order
) -> None:
  put_on_hub(site, monkeypatch, cifar10, order)
  fetched = get('cifar10', tmp_path)
  assert fetched.notes == ()
  assert fetched.path == tmp_path / 'cifar-10-batches-bin'
  for name, batch in cifar10.items():
    assert (fetched.path / f'{name}.bin').read_bytes() == official_files.binary_records(*batch)
  check_cifar10(tmp_path, cifar10)
  assert visible(tmp_path) == ['cifar-10-batches-bin']
  assert not (tmp_path / '.cifar10.download').exists()


def test_another_order_of_the_images_is_said(site, cifar10, tmp_path, monkeypatch) -> None:
  mixed = dict(cifar10)
  (pixels, labels), (others, other_labels) = cifar10['data_batch_1'], cifar10['data_batch_2']
  mixed['data_batch_1'] = pixels[[1, 0]], labels[::-1]
  mixed['data_batch_2'] = others, other_labels
  put_on_hub(site, monkeypatch, mixed, BATCHES)
  fetched = get('cifar10', tmp_path)
  assert len(fetched.notes) == 1
  assert 'CIFAR-10, train: the published images and labels, but in another' in fetched.notes[0]
  assert len(cifar_files.read('cifar10', fetched.path).train) == 10


def brighter(image: np.ndarray) -> np.ndarray:
  return np.maximum(image, 1)


def larger(image: np.ndarray) -> np.ndarray:
  return np.pad(image, ((0, 1), (0, 0), (0, 0)))


def refusals(folder: pathlib.Path) -> tuple[str, ...]:
  """What the official place and the hub answer."""
  with pytest.raises(UserError) as caught:
    get('cifar10', folder)
  return caught.value.details


def test_other_pixels_of_the_hub_are_refused(site, cifar10, tmp_path, monkeypatch) -> None:
  for change, words in ((brighter, 'other images or labels'), (larger, r'an image of \(32, 33\)')):
    site.files['/cifar-10-python.tar.gz'] = b''
    put_on_hub(site, monkeypatch, cifar10, BATCHES, change)
    official, hub = refusals(tmp_path)
    assert official.endswith('answers 404 Not Found')
    assert re.search(words, hub)
    assert visible(tmp_path) == []
    assert not list(tmp_path.rglob('*.bin'))


def test_a_damaged_parquet_file_is_refused(site, cifar10, tmp_path, monkeypatch) -> None:
  put_on_hub(site, monkeypatch, cifar10, BATCHES)
  path = next(path for path in site.files if 'train' in path)
  content = site.files[path]
  for damaged in (content[:4] + bytes(len(content) - 4), content[:-200], content[:4] * 99):
    site.files[path] = damaged
    assert re.search('has a file that cannot be read|has a file of', refusals(tmp_path)[1])
  site.files[path] = parquet({'img': [{'bytes': b'', 'path': ''}], 'label': [0]})
  assert 'has 1 images for train, not 10' in refusals(tmp_path)[1]


def test_gray_pngs_of_the_hub(site, fashion, tmp_path, monkeypatch) -> None:
  monkeypatch.setenv('HF_ENDPOINT', site.url)
  base = '/datasets/zalando-datasets/fashion_mnist/resolve/main/fashion_mnist'
  for split, part in (('train', 'train'), ('test', 't10k')):
    cells = [{'bytes': png(i), 'path': ''} for i in fashion[f'{part}-images-idx3-ubyte']]
    labels = fashion[f'{part}-labels-idx1-ubyte'].tolist()
    content = parquet({'image': cells, 'label': labels})
    site.files[f'{base}/{split}-00000-of-00001.parquet'] = content
  del site.files['/a/t10k-images-idx3-ubyte.gz']  # the official place lacks one of four files
  fetched = get('fashion_mnist', tmp_path)
  assert visible(fetched.path) == sorted(idx.FILES)
  check_fashion(tmp_path, fashion)


def test_both_labels_of_cifar100(site, tmp_path, monkeypatch) -> None:
  pixels, fine = official_files.random_batch(0, 2, 100)
  coarse = [3, 19]
  entries = {
    name: {b'data': pixels, b'fine_labels': fine, b'coarse_labels': coarse}
    for name in ('train', 'test')
  }
  files = {name: pickle.dumps(entry, protocol=2) for name, entry in entries.items()}
  archive = official_files.write_archive(tmp_path / 'a.tgz', 'cifar-100-python', files)
  content = archive.read_bytes()
  records = b''.join(
    bytes([c, f]) + row.tobytes() for c, f, row in zip(coarse, fine, pixels, strict=True)
  )
  monkeypatch.setattr(
    cifar_files,
    'VERSIONS',
    tuple(dataclasses.replace(v, train_records=2, test_records=2) for v in cifar_files.VERSIONS),
  )
  package = dataclasses.replace(
    PACKAGES['cifar100'],
    packed={'cifar-100-python.tar.gz': (len(content), md5(content))},
    unpacked={'train': {'train.bin': md5(records)}, 'test': {'test.bin': md5(records)}},
    counts={'train': 2, 'test': 2},
    addresses=(f'{site.url}/{{}}',),
    unordered={},
  )
  install(monkeypatch, package)
  site.files['/cifar-100-python.tar.gz'] = content
  fetched = get('cifar100_coarse', tmp_path / 'data')
  assert cifar_files.read('cifar100_coarse', fetched.path).test.labels.tolist() == coarse
  changed = {'train': {'train.bin': '0' * 32}, 'test': package.unpacked['test']}
  install(monkeypatch, dataclasses.replace(package, unpacked=changed))
  with pytest.raises(UserError, match='other images or labels for train than those published'):
    get('cifar100', tmp_path / 'other')
