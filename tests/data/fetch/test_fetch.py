"""A whole data set: small archives in the official formats, from servers on this machine."""

import dataclasses
import errno
import gzip
import hashlib
import io
import pathlib
import pickle
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image

from cifar_jax import commands, data
from cifar_jax.data import cifar_files, fetch, idx
from cifar_jax.data.fetch import contents, mirrors
from cifar_jax.data.fetch.download import Patience
from cifar_jax.data.fetch.mirrors import PACKAGES, Package
from cifar_jax.utils.errors import UserError
from tests.helpers import official_files
from tests.helpers.file_server import Site, serving

QUICK = Patience(connect=1, silence=0.5, trial=0.1, worthwhile=0.5, pause=0.01, tries=2)
BATCHES = [f'data_batch_{i}' for i in range(1, 6)]
COUNTS = {'train': 10, 'test': 2}


def md5(content: bytes) -> str:
  return hashlib.md5(content).hexdigest()


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


def rows(batches: dict[str, tuple[np.ndarray, list[int]]], names: list[str]) -> np.ndarray:
  records = b''.join(official_files.binary_records(*batches[name]) for name in names)
  return np.frombuffer(records, np.uint8).reshape(-1, 3073)


def install(monkeypatch: pytest.MonkeyPatch, package: Package) -> None:
  monkeypatch.setitem(PACKAGES, package.name, package)


def get(name: str, folder: pathlib.Path, *addresses: str, said: list[str] | None = None):
  said = [] if said is None else said
  return fetch.fetch(name, folder, addresses, said.append, QUICK)


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


def check_cifar10(folder: pathlib.Path, batches) -> None:
  """The readers find what the batches hold, in the official order."""
  dataset = cifar_files.read('cifar10', cifar_files.find('cifar10', folder))
  pixels = np.concatenate([batches[name][0] for name in BATCHES])
  np.testing.assert_array_equal(dataset.train.images, official_files.images_of(pixels))
  assert dataset.train.labels.tolist() == [i for name in BATCHES for i in batches[name][1]]
  assert dataset.test.labels.tolist() == batches['test_batch'][1]


def visible(folder: pathlib.Path) -> list[str]:
  return sorted(path.name for path in folder.iterdir() if not path.name.startswith('.'))


def test_an_archive_is_kept_as_it_is(site, cifar10, tmp_path) -> None:
  said: list[str] = []
  fetched = get('cifar10', tmp_path / 'data', said=said)
  assert fetched.path == tmp_path / 'data/cifar-10-python.tar.gz'
  assert fetched.path.read_bytes() == site.files['/cifar-10-python.tar.gz']
  assert (fetched.notes, fetched.transferred) == ((), fetched.path.stat().st_size)
  check_cifar10(tmp_path / 'data', cifar10)
  assert visible(tmp_path / 'data') == ['cifar-10-python.tar.gz']
  assert not (tmp_path / 'data/.cifar10.download').exists()
  assert [line.split(':')[0] for line in said] == ['CIFAR-10'] * 2
  again = get('cifar10', tmp_path / 'data')
  assert (again.path, again.host) == (fetched.path, '')
  assert len(site.requests) == 1


def test_the_first_use_downloads(site, cifar10, tmp_path, monkeypatch) -> None:
  for variable in ('CIFAR_JAX_DATA', 'TFDS_DATA_DIR', 'KERAS_HOME'):
    monkeypatch.setenv(variable, str(tmp_path / 'none'))
  monkeypatch.chdir(tmp_path)
  monkeypatch.setenv('CIFAR_JAX_CACHE', str(tmp_path / 'cache'))
  config = ConfigDict({'name': 'cifar10', 'dir': ''})
  for _ in range(2):
    dataset = data.load(config)
    assert dataset.source == str(tmp_path / 'cache/datasets/cifar-10-python.tar.gz')
    assert dataset.test.labels.tolist() == cifar10['test_batch'][1]
    assert len(site.requests) == 1


def test_the_command(site, cifar10, tmp_path, monkeypatch, capsys) -> None:
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(commands.host_memory, 'configure_malloc', lambda: None)
  monkeypatch.setattr(commands.xla_flags, 'set_flags', lambda: None)
  main = commands.main
  main(['data', 'fetch', '--dir=here'])
  assert capsys.readouterr().out.splitlines()[0].split()[-2:] == ['not', 'here']
  main(['data', 'fetch', 'cifar10', '--dir=here', f'--mirror={site.url}'])
  streams = capsys.readouterr()
  assert streams.out == 'use it: --config.data.name=cifar10 --config.data.dir=here\n'
  assert 'compared with the published checksums; it is in here/cifar-10-python' in streams.err
  main(['data', 'fetch', 'cifar10', '--dir=here'])
  assert capsys.readouterr().out.startswith('cifar10 is in here/cifar-10-python.tar.gz, compared')
  main(['data', 'fetch', '--dir=here'])
  assert capsys.readouterr().out.splitlines()[0].endswith('here/cifar-10-python.tar.gz')
  (tmp_path / 'here/cifar-10-python.tar.gz').write_bytes(b'damaged')
  with pytest.raises(SystemExit):
    main(['data', 'fetch', 'cifar10', '--dir=here'])
  error = capsys.readouterr().err
  assert 'here/cifar-10-python.tar.gz cannot be read' in error
  assert 'move it away, and the same command downloads it anew' in error
  with pytest.raises(SystemExit):
    main(['data', 'fetch', 'cifar10', 'cifar-100', '--dir=there'])
  assert "cifar-100 is no data set that can be fetched; did you mean 'cifar100'?" in (
    capsys.readouterr().err
  )
  assert not (tmp_path / 'there').exists()


@pytest.mark.parametrize('named', ['option', 'variable'])
def test_an_own_mirror_is_asked_alone(site, cifar10, tmp_path, monkeypatch, named) -> None:
  with serving(Site({'/x/cifar-10-python.tar.gz': site.files['/cifar-10-python.tar.gz']})) as own:
    address = f'{own.url}/x/'
    if named == 'variable':
      monkeypatch.setenv(mirrors.VARIABLE, address)
    get('cifar10', tmp_path, *([address] if named == 'option' else []))
    assert own.requests == [('/x/cifar-10-python.tar.gz', '')]
  assert site.requests == []
  check_cifar10(tmp_path, cifar10)


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


def test_other_pixels_of_the_hub_are_refused(site, cifar10, tmp_path, monkeypatch) -> None:
  for change, words in ((brighter, 'other images or labels'), (larger, r'an image of \(32, 33\)')):
    site.files['/cifar-10-python.tar.gz'] = b''
    put_on_hub(site, monkeypatch, cifar10, BATCHES, change)
    with pytest.raises(UserError, match=rf'{words}.*') as caught:
      get('cifar10', tmp_path)
    assert 'answers 404' in str(caught.value)  # what the official place says
    assert visible(tmp_path) == []
    assert not list(tmp_path.rglob('*.bin'))


def test_a_damaged_parquet_file_is_refused(site, cifar10, tmp_path, monkeypatch) -> None:
  put_on_hub(site, monkeypatch, cifar10, BATCHES)
  path = next(path for path in site.files if 'train' in path)
  content = site.files[path]
  for damaged in (content[:4] + bytes(len(content) - 4), content[:-200], content[:4] * 99):
    site.files[path] = damaged
    with pytest.raises(UserError, match=r'has a file that cannot be read|has a file of'):
      get('cifar10', tmp_path)
  site.files[path] = parquet({'img': [{'bytes': b'', 'path': ''}], 'label': [0]})
  with pytest.raises(UserError, match='has 1 images for train, not 10'):
    get('cifar10', tmp_path)


def idx_file(array: np.ndarray) -> bytes:
  return struct.pack(f'>4B{array.ndim}I', 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


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


def check_fashion(folder: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
  dataset = idx.read('fashion_mnist', idx.find('fashion_mnist', folder))
  train, labels, test, test_labels = (arrays[name] for name in idx.FILES)
  np.testing.assert_array_equal(dataset.train.images[..., 0], train)
  np.testing.assert_array_equal(dataset.test.images[..., 0], test)
  assert dataset.train.labels.tolist() == labels.tolist()
  assert dataset.test.labels.tolist() == test_labels.tolist()
  assert dataset.notes == ()


def test_four_files_come_into_one_folder(site, fashion, tmp_path) -> None:
  fetched = get('fashion_mnist', tmp_path)
  assert fetched.path == tmp_path / 'fashion-mnist'
  assert sorted(visible(fetched.path)) == sorted(f'{name}.gz' for name in idx.FILES)
  check_fashion(tmp_path, fashion)


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


def test_without_any_mirror_one_sentence_says_what_to_do(site, cifar10, tmp_path) -> None:
  del site.files['/cifar-10-python.tar.gz']
  with pytest.raises(UserError) as caught:
    get('cifar10', tmp_path, site.url, 'http://127.0.0.1:1')
  message = str(caught.value)
  for words in (
    f'{site.url}/cifar-10-python.tar.gz: answers 404 Not Found',
    'http://127.0.0.1:1/cifar-10-python.tar.gz: connection refused',
    f'bring cifar-10-python.tar.gz from another machine into {tmp_path}',
    '$CIFAR_JAX_MIRROR',
  ):
    assert words in message
  assert '\n' not in message
  assert not (tmp_path / '.cifar10.download').exists()


def test_what_came_stays_for_the_next_try(site, cifar10, tmp_path) -> None:
  site.cut, site.status = [20_000], [200, 403]
  with pytest.raises(UserError, match='answers 403'):
    get('cifar10', tmp_path)
  assert visible(tmp_path) == []
  site.status = []
  get('cifar10', tmp_path)
  size = len(site.files['/cifar-10-python.tar.gz'])
  assert site.sent < size + (1 << 14)
  check_cifar10(tmp_path, cifar10)


def test_too_little_room(site, cifar10, tmp_path, monkeypatch) -> None:
  usage = shutil.disk_usage(tmp_path)._replace(free=16 << 20)
  monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
  with pytest.raises(UserError, match=r'has 17 MB of room, and CIFAR-10 needs 17 MB; .*--dir='):
    get('cifar10', tmp_path)
  assert site.requests == []


def test_only_what_finds_room_is_downloaded(site, cifar10, tmp_path, monkeypatch) -> None:
  # The hub's PNGs, of 143 MB in the table, would not find it.
  usage = shutil.disk_usage(tmp_path)._replace(free=20 << 20)
  monkeypatch.setattr(shutil, 'disk_usage', lambda path: usage)
  said: list[str] = []
  get('cifar10', tmp_path, said=said)
  assert said[0].endswith(f'from {site.url.removeprefix("http://")}')


def test_a_folder_that_cannot_be_written(site, cifar10, tmp_path) -> None:
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match=r'cannot make the folder .*file/data'):
    get('cifar10', tmp_path / 'file/data')
  (tmp_path / '.cifar10.download').write_text('')
  with pytest.raises(UserError, match=r'cannot write to .*--dir=FOLDER'):
    get('cifar10', tmp_path)


def test_a_folder_of_other_files_stays(site, fashion, tmp_path) -> None:
  stray = tmp_path / 'fashion-mnist/.DS_Store'
  stray.parent.mkdir()
  stray.write_text('')
  with pytest.raises(UserError, match=r'/fashion-mnist holds other files .*; move it away.*--dir='):
    get('fashion_mnist', tmp_path)
  assert stray.is_file()
  assert site.requests == []


@pytest.mark.parametrize('number', [errno.ENOLCK, errno.EOPNOTSUPP])
def test_without_locks_nobody_is_kept_out(site, cifar10, tmp_path, monkeypatch, number) -> None:
  fcntl = pytest.importorskip('fcntl')

  def refuse(*_: object) -> None:
    raise OSError(number, 'no locks')

  monkeypatch.setattr(fcntl, 'flock', refuse)
  get('cifar10', tmp_path)
  check_cifar10(tmp_path, cifar10)


def test_several_at_once_download_once(site, cifar10, tmp_path) -> None:
  site.rate = 150_000
  said: list[str] = []
  found: list[pathlib.Path] = []

  def one() -> None:
    found.append(get('cifar10', tmp_path, site.url, said=said).path)

  threads = [threading.Thread(target=one) for _ in range(4)]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert found == [tmp_path / 'cifar-10-python.tar.gz'] * 4
  assert site.sent == found[0].stat().st_size
  assert sum('waiting for it' in line for line in said) == 3


_OTHER_PROCESS = """
import dataclasses, pathlib, sys
from cifar_jax.data import fetch
from cifar_jax.data.fetch.mirrors import PACKAGES
url, size, md5, folder = sys.argv[1:]
packed = {'cifar-10-python.tar.gz': (int(size), md5)}
PACKAGES['cifar10'] = dataclasses.replace(PACKAGES['cifar10'], packed=packed)
fetch.fetch('cifar10', pathlib.Path(folder), [url])
"""


def test_another_process_goes_on_after_kill_9(site, cifar10, tmp_path) -> None:
  content = site.files['/cifar-10-python.tar.gz']
  site.rate = 100_000
  arguments = [site.url, str(len(content)), md5(content), str(tmp_path)]
  with subprocess.Popen([sys.executable, '-c', _OTHER_PROCESS, *arguments]) as other:
    while site.sent < 20_000 and other.poll() is None:
      time.sleep(0.01)
    other.kill()
  assert other.returncode == -signal.SIGKILL
  assert visible(tmp_path) == []
  site.rate = None
  get('cifar10', tmp_path)
  assert len(site.requests) == 2
  assert site.requests[1][1]
  assert site.sent < len(content) + (1 << 14)
  check_cifar10(tmp_path, cifar10)


@pytest.mark.parametrize(
  ('name', 'words'),
  [
    ('cifar1', "did you mean 'cifar10'"),
    ('mnst', "did you mean 'mnist'"),
    ('qqq', 'known are cifar10, '),
  ],
)
def test_a_wrong_name(tmp_path, name, words) -> None:
  with pytest.raises(UserError, match=f'{name} is no data set that can be fetched; {words}'):
    fetch.fetch(name, tmp_path)


@pytest.mark.parametrize('name', PACKAGES)
def test_the_table(name) -> None:
  package = PACKAGES[name]
  table = mirrors.mirrors_of(package)
  assert [mirror.parquet for mirror in table].count(True) == 1
  assert len(table) >= 3
  for mirror in table:
    assert all('{' not in file.url and file.url.startswith('http') for file in mirror.files)
    assert all(len(file.md5) == (0 if mirror.parquet else 32) for file in mirror.files)
  assert len({mirror.host for mirror in table}) == len(table)
  assert set(package.counts) == set(package.unpacked) == {'train', 'test'}
