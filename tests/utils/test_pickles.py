"""The restricted unpickler: reads the official format and runs nothing."""

import builtins
import operator
import os
import pathlib
import pickle
import subprocess
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifar_jax.utils.errors import UserError
from cifar_jax.utils.pickles import read_pickle
from tests.helpers import official_files
from tests.helpers.only_user_errors import only_user_errors


@pytest.mark.parametrize(
  'write', [official_files.python2_pickle, official_files.python3_pickle], ids=['py2', 'py3']
)
def test_reads_what_either_python_wrote(write: Any) -> None:
  pixels, labels = official_files.random_batch(0, 5)
  batch = read_pickle(write(pixels, labels), 'file')
  np.testing.assert_array_equal(batch['data'], pixels)
  assert batch['data'].dtype == np.uint8
  assert batch['labels'] == labels


def test_handmade_python2_pickle_is_a_real_one() -> None:
  pixels, labels = official_files.random_batch(1, 3)
  content = official_files.python2_pickle(pixels, labels)
  with warnings.catch_warnings():
    warnings.simplefilter('ignore')  # Some versions of NumPy 2 warn of the name numpy.core.
    expected = pickle.loads(content, encoding='bytes')
  np.testing.assert_array_equal(expected[b'data'], pixels)


@pytest.mark.parametrize('protocol', [2, 3, 4])
def test_reads_columns_first_arrays(protocol: int) -> None:
  array = np.asfortranarray(np.arange(6, dtype=np.uint8).reshape(2, 3))
  read = read_pickle(pickle.dumps({'data': array}, protocol=protocol), 'file')
  np.testing.assert_array_equal(read['data'], array)


class Exploit:
  def __init__(self, function: Any, *arguments: Any):
    self.reduced = (function, arguments)

  def __reduce__(self) -> Any:
    return self.reduced


@pytest.mark.parametrize(
  ('function', 'arguments', 'name'),
  [
    (os.system, ('touch {}',), f'{os.name}.system'),
    (builtins.eval, ('open({!r}, "w")',), 'eval'),
    (builtins.exec, ('open({!r}, "w")',), 'exec'),
    (builtins.open, ('{}', 'w'), 'open'),
    (builtins.getattr, (b'', 'join'), 'getattr'),
    (operator.attrgetter, ('__class__',), 'attrgetter'),
    (subprocess.Popen, (('touch', '{}'),), 'Popen'),
    (np.fromfile, ('{}',), 'fromfile'),
  ],
)
@pytest.mark.parametrize('nested', [False, True])
@pytest.mark.parametrize('protocol', [0, 2, 4])
def test_refuses_exploits(
  tmp_path: pathlib.Path, function: Any, arguments: Any, name: str, nested: bool, protocol: int
) -> None:
  witness = tmp_path / 'witness'

  def fill(argument: Any) -> Any:
    if isinstance(argument, tuple):
      return tuple(fill(part) for part in argument)
    return (
      argument.replace('{!r}', repr(str(witness))).replace('{}', str(witness))
      if isinstance(argument, str)
      else argument
    )

  exploit: Any = Exploit(function, *(fill(argument) for argument in arguments))
  if nested:
    exploit = [({'labels': [exploit]},)]
  content = pickle.dumps({b'data': np.zeros(3, np.uint8), b'labels': exploit}, protocol=protocol)
  with pytest.raises(UserError, match=rf'^some_file .*{name}'):
    read_pickle(content, 'some_file')
  assert not witness.exists()


def test_the_exploits_are_real(tmp_path: pathlib.Path) -> None:
  witness = tmp_path / 'witness'
  pickle.loads(pickle.dumps(Exploit(os.system, f'touch {witness}')))
  assert witness.exists()


@pytest.mark.parametrize(
  'content',
  [
    b'',
    b'.',
    b'\x80\x02K\x01.',  # not a dictionary
    b'\x80\x02}U\x01acnumpy\nndarray\ns.',  # a type as data
    b'\x80\x02}U\x01acnumpy\nndarray\nK\x05\x85Rs.',  # numpy.ndarray((5,))
    b'\x80\x02cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R.',  # an array of objects
    b'\x80\x02cnumpy\ndtype\n}U\x08__call__K\x01sb.',  # alters a permitted function
    b'\x80\x02cnumpy\ndtype\nN}U\x09_functionK\x01s\x86b.',  # the same through a slot
    b'\x80\x04\x8e\xff\xff\xff\xff\xff\xff\x00\x00abc.',  # bytes of 2^48
    b'\x80\x02}K\x01K\x02s.',  # the name of an entry is a number
    b'\x80\x02\x82\x01.',  # an extension code
    b'\x80\x02U\x01aQ.',  # a persistent id
  ],
)
def test_refuses_damaged_pickles(content: bytes) -> None:
  with pytest.raises(UserError, match=r'^file is (damaged|a pickle)'):
    read_pickle(content, 'file')


def test_a_memo_of_two_billion_entries_reserves_no_memory() -> None:
  # The unpickler in C reserves room for all entries up to the highest: 16 GiB and more.
  assert read_pickle(b'\x80\x02}r\xff\xff\xff\x7f.', 'file') == {}


_SMALL = official_files.python2_pickle(*official_files.random_batch(2, 1))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_mutations_raise_nothing_but_user_errors(data: st.DataObject) -> None:
  content = bytearray(_SMALL)
  # The header and the labels are short; most of the file is pixels, where any byte is right.
  structure = [*range(140), *range(len(content) - 20, len(content))]
  for _ in range(data.draw(st.integers(1, 4))):
    content[data.draw(st.sampled_from(structure))] = data.draw(st.integers(0, 255))
  content = content[: data.draw(st.one_of(st.none(), st.integers(0, len(content))))]
  with only_user_errors(naming='file'):
    assert isinstance(read_pickle(bytes(content), 'file'), dict)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_noise_raises_nothing_but_user_errors(content: bytes) -> None:
  with only_user_errors(naming='file'):
    assert isinstance(read_pickle(b'\x80\x02' + content, 'file'), dict)


def test_a_deeply_nested_key_is_refused_before_it_is_hashed() -> None:
  """Hashing it would end the process: a crash, not an exception."""
  depth = 1_000_000
  nested = b'\x80\x02})' + b'\x85' * depth + b'K\x01s.'
  with pytest.raises(UserError, match=r'file is damaged .*the name of an entry is no text'):
    read_pickle(nested, 'file')
