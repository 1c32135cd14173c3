"""Damaged .npz files, and such that unpack to too much."""

import pathlib
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cifar_jax.data import npz, npz_archive
from cifar_jax.startup import host_memory
from cifar_jax.utils.errors import UserError
from tests.helpers.memory import little_memory
from tests.helpers.mutations import mutations
from tests.helpers.npz_files import write
from tests.helpers.only_user_errors import only_user_errors


@settings(
  max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_damage_raises_nothing_but_user_errors(tmp_path: pathlib.Path, data: st.DataObject) -> None:
  path = write(tmp_path / 'damaged.npz')
  content = bytearray(path.read_bytes())
  for _ in range(data.draw(st.integers(0, 4))):
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
  path.write_bytes(content[: data.draw(st.one_of(st.none(), st.integers(0, len(content))))])
  with only_user_errors(naming='damaged.npz'):
    npz.read('a', path)


def test_mutations_raise_nothing_but_user_errors(tmp_path: pathlib.Path) -> None:
  path = write(tmp_path / 'damaged.npz', class_names=np.array(list('abc')), groups=np.arange(6))
  with little_memory():
    for content in mutations(path.read_bytes(), 300, header=200):
      path.write_bytes(content)
      with only_user_errors(naming='damaged.npz'):
        npz.read('a', path)


def test_an_archive_that_unpacks_to_too_much(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  """Refused by what it declares, before anything of it is unpacked."""
  path = tmp_path / 'bomb.npz'
  np.savez_compressed(path, x_train=np.zeros(10_000_000, np.uint8), y_train=np.arange(3))
  assert path.stat().st_size < 100_000

  def not_unpacked(*_: object, **__: object) -> None:
    raise AssertionError('it is unpacked')

  monkeypatch.setattr(np.lib.format, 'read_array', not_unpacked)
  np.savez(tmp_path / 'other.npz', x_train=np.zeros(3))
  with pytest.raises(UserError, match=r'holds no complete set of the arrays .* it holds x_train'):
    npz.read('a', tmp_path / 'other.npz')
  monkeypatch.setattr(host_memory, 'available', lambda: 10_000_000)
  with pytest.raises(
    UserError, match=r'the arrays of .*bomb\.npz unpack to 0\.01 GiB of memory, .* are free'
  ):
    npz.read('a', path)
  monkeypatch.setattr(host_memory, 'available', lambda: None)
  monkeypatch.setattr(npz_archive, '_HARMLESS', 5_000_000)
  with pytest.raises(UserError, match=r'bomb\.npz has [\d,]+ bytes, .* unpack to 10,000,024, as'):
    npz.read('a', path)


def test_large_sets_that_pack_as_images_do_are_read(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  """Digits on black, of which a tenth is left; and zeros that are not packed."""
  monkeypatch.setattr(npz_archive, '_HARMLESS', 1000)
  images = np.zeros((100, 28, 28), np.uint8)
  images[:, 10:18, 10:18] = np.random.default_rng(0).integers(0, 256, (100, 8, 8))
  labels = np.arange(100) % 2
  np.savez_compressed(tmp_path / 'packed.npz', x_train=images, y_train=labels)
  images[1:] = 0
  np.savez(tmp_path / 'plain.npz', x_train=images, y_train=labels)
  for name in ('packed', 'plain'):
    assert len(npz.read('a', tmp_path / f'{name}.npz').train) == 100


@pytest.mark.parametrize(
  ('declared', 'said'),
  [
    (b"{'descr': '|u1', 'fortran_order': False, 'shape': (6000000000,)}", 'declares 6,000,000,000'),
    (b"{'descr': '<U200000000', 'fortran_order': False, 'shape': ()}", 'declares 800,000,000'),
    (b"{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 9)}", 'declares -9 bytes'),
  ],
)
def test_a_header_that_declares_what_the_zip_does_not_have(
  tmp_path: pathlib.Path, declared: bytes, said: str
) -> None:
  header = declared.ljust(117) + b'\n'
  with zipfile.ZipFile(tmp_path / 'a.npz', 'w') as archive:
    for name in ('x_train', 'y_train'):
      archive.writestr(
        f'{name}.npy', b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header
      )
  with little_memory(), pytest.raises(UserError, match=rf'a\.npz cannot be read .*x_train {said}'):
    npz.read('a', tmp_path / 'a.npz')


def test_other_files_of_that_name_are_said_to_be_such(tmp_path: pathlib.Path) -> None:
  """NumPy would advise to unpickle them."""
  (tmp_path / 'a.npz').write_text('no zip')
  with pytest.raises(UserError, match=r'it is no zip file, as numpy\.savez writes it'):
    npz.read('a', tmp_path / 'a.npz')
  arrays = {
    'x_train': np.zeros((4, 2, 2, 3), np.uint8),
    'y_train': np.array(['a', 1, 2, 3], object),
  }
  np.savez(tmp_path / 'a.npz', **arrays)
  with pytest.raises(UserError, match='y_train holds Python objects, which are not read'):
    npz.read('a', tmp_path / 'a.npz')
  images = np.full((4, 2, 2, 3), np.nan)
  np.savez(tmp_path / 'a.npz', x_train=images, y_train=np.arange(4))
  with pytest.raises(UserError, match=r'x_train.* holds numbers that are not finite; replace them'):
    npz.read('a', tmp_path / 'a.npz')


def test_what_is_no_array_is_named(tmp_path: pathlib.Path) -> None:
  """NumPy gives the bytes of such a member as they are."""
  with zipfile.ZipFile(tmp_path / 'a.npz', 'w') as archive:
    for name in ('x_train', 'y_train'):
      archive.writestr(f'{name}.npy', b'text and no array')
  with pytest.raises(UserError, match=r'a\.npz cannot be read as an \.npz file of plain arrays'):
    npz.read('a', tmp_path / 'a.npz')
