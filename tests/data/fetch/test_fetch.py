"""A whole data set: small archives in the official formats, from servers on this machine."""

import errno
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from ml_collections import ConfigDict

from cifar_jax import commands, data
from cifar_jax.data import fetch, idx
from cifar_jax.data.fetch import download, mirrors
from cifar_jax.data.fetch.mirrors import PACKAGES
from cifar_jax.utils.errors import UserError, exit_on_user_error
from tests.helpers.fetched import QUICK, check_cifar10, check_fashion, get, md5, visible
from tests.helpers.file_server import Site, serving


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
  assert error.count('cifar-10-python.tar.gz') == 1
  assert 'get the file again' not in error
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


def test_four_files_come_into_one_folder(site, fashion, tmp_path) -> None:
  fetched = get('fashion_mnist', tmp_path)
  assert fetched.path == tmp_path / 'fashion-mnist'
  assert sorted(visible(fetched.path)) == sorted(f'{name}.gz' for name in idx.FILES)
  check_fashion(tmp_path, fashion)


def test_without_any_mirror_one_sentence_says_what_to_do(site, cifar10, tmp_path) -> None:
  del site.files['/cifar-10-python.tar.gz']
  with pytest.raises(UserError) as caught:
    get('cifar10', tmp_path, site.url, 'http://127.0.0.1:1')
  message = str(caught.value)
  host = site.url.removeprefix('http://')
  assert message.startswith(f'CIFAR-10 cannot be downloaded ({host}: answers 404 Not Found); bring')
  assert f'bring cifar-10-python.tar.gz into {tmp_path}, or set $CIFAR_JAX_MIRROR' in message
  assert '\n' not in message
  assert caught.value.details == (
    f'{site.url}/cifar-10-python.tar.gz: answers 404 Not Found',
    'http://127.0.0.1:1/cifar-10-python.tar.gz: connection refused',
  )
  assert not (tmp_path / '.cifar10.download').exists()


def test_without_a_network_training_says_so_briefly(
  site, cifar10, tmp_path, monkeypatch, capsys
) -> None:
  for variable in ('CIFAR_JAX_DATA', 'TFDS_DATA_DIR', 'KERAS_HOME'):
    monkeypatch.setenv(variable, str(tmp_path / 'none'))
  monkeypatch.chdir(tmp_path)
  monkeypatch.setattr(fetch, 'make_folder', lambda folder: tmp_path)
  ports = [f'http://127.0.0.1:{port}' for port in (1, 2, 3)]
  monkeypatch.setenv(mirrors.VARIABLE, ' '.join(ports))
  monkeypatch.setattr(download, 'Patience', lambda: QUICK)
  with pytest.raises(SystemExit) as ended, exit_on_user_error():
    data.load(ConfigDict({'name': 'cifar10', 'dir': ''}))
  assert ended.value.code == 2
  lines = capsys.readouterr().err.splitlines()
  sentence, *details = lines[next(i for i, line in enumerate(lines) if line.startswith('error')) :]
  assert 'cannot be downloaded (3 of 3 mirrors: connection refused); bring' in sentence
  assert len(sentence.replace(str(tmp_path), '/home/somebody/.cache/cifar_jax/datasets')) <= 320
  for words in ('$CIFAR_JAX_MIRROR', '--config.data.dir', '--config.data.name=synthetic'):
    assert words in sentence
  address = '/cifar-10-python.tar.gz: connection refused'
  assert details[:3] == [f'  {port}{address}' for port in ports]
  assert details[3].startswith(f'  looked for in {tmp_path}/none, {tmp_path}/data, ')
  assert len(details) == 4


@pytest.mark.parametrize(('place', 'address'), [('--mirror', 'ftp://a'), (mirrors.VARIABLE, 'a:1')])
def test_a_mirror_that_is_no_web_address(site, tmp_path, monkeypatch, place, address) -> None:
  if place == mirrors.VARIABLE:
    monkeypatch.setenv(place, f'{site.url} {address}')
  words = f"^{place} must start with http:// or https://, which '{address}' does not$"
  with pytest.raises(UserError, match=words):
    get('cifar10', tmp_path, *([address] if place == '--mirror' else []))
  assert site.requests == []


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


def test_parts_of_other_mirrors_make_room_where_there_is_none(tmp_path, monkeypatch) -> None:
  """As two of them can fill a disk that one of them would not have."""
  package = PACKAGES['cifar10']
  two = [mirror for mirror in mirrors.mirrors_of(package, ()) if not mirror.parquet][:2]
  parts = {mirror: tmp_path / str(number) for number, mirror in enumerate(two)}
  for part, size in zip(parts.values(), (135, 75), strict=True):
    part.mkdir()
    with (part / 'cifar-10-python.tar.gz.part').open('wb') as file:
      file.truncate(size << 20)
  usage = shutil.disk_usage(tmp_path)

  def free(path):
    used = sum(file.stat().st_size for file in tmp_path.rglob('*.part'))
    return usage._replace(free=max(0, (210 << 20) - used))

  monkeypatch.setattr(shutil, 'disk_usage', free)
  assert list(fetch._with_room(package, tmp_path, parts)) == two[:1]
  assert parts[two[0]].is_dir()
  assert not parts[two[1]].exists()


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
