"""Damaged .npz files, and such that unpack to too much."""

import pathlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cifar_jax.data import npz
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
  path = tmp_path / 'bomb.npz'
  np.savez_compressed(path, x_train=np.zeros(10_000_000, np.uint8))
  assert path.stat().st_size < 100_000
  # Without a set of names that is known, nothing is unpacked.
  with pytest.raises(UserError, match=r'holds no complete set of the arrays .* it holds x_train'):
    npz.read('a', path)
  monkeypatch.setattr(npz, '_MOST_BYTES', 1_000_000)
  with pytest.raises(UserError, match=r'bomb\.npz cannot be read .*unpacks to 10,000,\d+ bytes'):
    npz.read('a', path)
