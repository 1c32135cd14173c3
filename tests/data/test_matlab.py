"""MATLAB's files beside SciPy, which writes them and reads them where they are whole."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
import scipy.io

from cifar_jax.data import matlab
from tests.helpers.mutations import mutations

TYPES = [*(f'{sign}int{bits}' for bits in (8, 16, 32, 64) for sign in ('', 'u')), 'float32']
KINDS = {'float32': 'single', 'float64': 'double'}


def saved(packed: bool = True, **arrays: object) -> bytes:
  stored = io.BytesIO()
  scipy.io.savemat(stored, arrays, do_compression=packed)
  return stored.getvalue()


@pytest.mark.parametrize('packed', [True, False])
def test_numbers_of_every_type_are_those_that_were_saved(packed: bool) -> None:
  drawn = np.random.default_rng(0).integers(0, 100, (2, 3, 4, 5))
  arrays = {f'of_{name}': drawn.astype(name) for name in [*TYPES, 'float64']}
  arrays |= {'one': np.uint8([[7]]), 'a_row': np.arange(3)[None], 'empty': np.zeros((0, 4))}
  content = saved(packed, **arrays)
  expected = scipy.io.loadmat(io.BytesIO(content))
  found = {one.name: one for one in matlab.variables(content, 1 << 20)}
  assert found.keys() == arrays.keys()
  for name, array in arrays.items():
    one = found[name].array
    assert one is not None
    np.testing.assert_array_equal(one, expected[name])
    assert (one.shape, one.dtype) == (array.shape, array.dtype)
    assert found[name].kind == KINDS.get(str(array.dtype), str(array.dtype))


def test_other_classes_are_named_and_not_read() -> None:
  cell = np.array([{'a': 1}, 'b'], object)
  content = saved(a_cell=cell, a_struct={'x': 1}, text='words', z=np.array([[1j]]), n=np.uint8(3))
  found = {one.name: one for one in matlab.variables(content, 1 << 20)}
  assert [found[name].kind for name in ('a_cell', 'a_struct', 'text')] == ['cell', 'struct', 'char']
  assert all(found[name].array is None for name in ('a_cell', 'a_struct', 'text', 'z'))
  assert found['n'].array is not None


def test_the_other_order_of_bytes() -> None:
  """A file of one uint16 array, written down byte by byte."""
  numbers = struct.pack('>II4H', 4, 8, 1, 2, 3, 65535)
  flags, shape = struct.pack('>IIII', 6, 8, 11, 0), struct.pack('>IIii', 5, 8, 2, 2)
  name = struct.pack('>HH4s', 1, 1, b'v')  # a small element: size, type, bytes
  matrix = flags + shape + name + numbers
  content = bytes(124) + struct.pack('>H', 0x0100) + b'MI' + struct.pack('>II', 14, len(matrix))
  (one,) = matlab.variables(content + matrix, 1 << 20)
  assert (one.name, one.kind) == ('v', 'uint16')
  assert one.array is not None
  assert one.array.tolist() == [[1, 3], [2, 65535]]  # column after column


@pytest.mark.parametrize('content', [b'', bytes(200), b'\x89HDF\r\n\x1a\n' + bytes(600)])
def test_other_versions_are_refused(content: bytes) -> None:
  with pytest.raises(ValueError, match='save it in MATLAB with -v7'):
    list(matlab.variables(content, 1 << 20))


@pytest.mark.parametrize('packed', [True, False])
def test_damage_raises_nothing_but_value_errors(packed: bool) -> None:
  """Or what zlib says; SciPy's reader ends the process on some of these."""
  content = saved(packed, x=np.arange(60, dtype=np.uint8).reshape(3, 4, 5), y=np.arange(5.0))
  for damaged in mutations(content, 300, header=400):
    with contextlib.suppress(ValueError, zlib.error):
      for one in matlab.variables(damaged, 1 << 20):
        assert one.array is None or one.array.nbytes <= 8 << 20
