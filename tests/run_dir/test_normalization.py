"""What a run normalizes its images by, kept in its folder."""

import zipfile

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax.augment import normalize
from cifar_jax.data import npz_archive
from cifar_jax.run_dir import run_files
from cifar_jax.utils.errors import UserError
from tests.helpers.mutations import mutated
from tests.helpers.only_user_errors import only_user_errors


@pytest.mark.parametrize(
  'fit', [normalize.channel_statistics, lambda images: normalize.zca(images, 1e-3)]
)
def test_a_run_keeps_its_statistics(fit, tmp_path) -> None:
  images = np.random.default_rng(0).integers(0, 256, (50, 4, 3, 2), dtype=np.uint8)
  fitted = fit(images)
  run_files.save_normalization(tmp_path, fitted)
  found = run_files.load_normalization(tmp_path, ConfigDict({'normalize': 'zca'}))
  np.testing.assert_array_equal(jax.jit(found)(images), jax.jit(fitted)(images))


def test_given_numbers_need_no_file(tmp_path) -> None:
  """A config of an older version names no kind of normalization."""
  found = run_files.load_normalization(tmp_path, ConfigDict({'mean': (0.5,), 'std': (0.25,)}))
  pixels = np.array([0, 51, 255], np.uint8).reshape(1, 1, 3, 1)
  np.testing.assert_allclose(np.ravel(found(pixels)), [-2, -1.2, 2], rtol=1e-6)


def test_statistics_that_are_missing_or_damaged(tmp_path) -> None:
  section = ConfigDict({'normalize': 'channel'})
  with pytest.raises(
    UserError, match=r'normalization\.npz.* go on with its training, which writes'
  ):
    run_files.load_normalization(tmp_path, section)
  (tmp_path / 'normalization.npz').write_bytes(b'PK\x03\x04 nothing')
  with pytest.raises(UserError, match=r'normalization\.npz.* cannot be read'):
    run_files.load_normalization(tmp_path, section)
  (tmp_path / 'model.safetensors').touch()  # nothing is trained in a model folder
  with pytest.raises(UserError, match=r'\(BadZipFile\); .* fetch or copy it again from where it'):
    run_files.load_normalization(tmp_path, section)


def test_a_damaged_archive_gets_a_sentence(tmp_path) -> None:
  """Packed, so that zlib has a word too; one that says it holds terabytes."""
  section, path = ConfigDict({'normalize': 'channel'}), tmp_path / 'normalization.npz'
  np.savez_compressed(path, mean=np.zeros(3, np.float32), std=np.ones(3, np.float32))
  for changed in mutated(path.read_bytes(), 150, 0):
    path.write_bytes(changed)
    with only_user_errors(str(tmp_path)):
      run_files.load_normalization(tmp_path, section)
  header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}".ljust(117)
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('mean.npy', b'\x93NUMPY\x01\x00v\x00' + header + b'\n')
  with pytest.raises(UserError, match=r'normalization\.npz.* cannot be read \(ValueError\)'):
    run_files.load_normalization(tmp_path, section)


def test_statistics_that_unpack_to_too_much(tmp_path, monkeypatch) -> None:
  """A model folder may come from anywhere."""
  section, path = ConfigDict({'normalize': 'channel'}), tmp_path / 'normalization.npz'
  np.savez_compressed(path, mean=np.zeros(2**20, np.float32), std=np.ones(3, np.float32))
  monkeypatch.setattr(npz_archive, '_HARMLESS', 2**20)
  with pytest.raises(UserError, match=r'normalization\.npz has .* unpack to 4,194,316'):
    run_files.load_normalization(tmp_path, section)
