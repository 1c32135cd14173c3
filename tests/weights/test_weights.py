"""Files of weights in every format, what is told about wrong ones, and that none of them is run."""

import contextlib
import copy
import io
import json
import pathlib
import pickle
import struct
import zipfile

import numpy as np
import pytest

from cifar_jax.models import pretrained
from cifar_jax.utils.errors import UserError
from cifar_jax.weights import keras_files, load, safetensors_files, torch_files
from tests.helpers.tiny_network import NETWORK, tensors, write_safetensors

FIXTURES = pathlib.Path(__file__).parent.parent / 'fixtures' / 'weights'


@pytest.fixture(autouse=True)
def tiny(monkeypatch) -> None:
  monkeypatch.setitem(pretrained.NETWORKS, 'tiny', NETWORK)


def expected() -> dict:
  found = tensors()
  return {
    'params': {
      'conv': {'kernel': found['conv.weight'].transpose(2, 3, 1, 0)},
      'bn': {'scale': found['bn.weight'], 'bias': found['bn.bias']},
      'fc': {'kernel': found['fc.weight'].T, 'bias': found['fc.bias']},
    },
    'batch_stats': {'bn': {'mean': found['bn.running_mean'], 'var': found['bn.running_var']}},
  }


@pytest.mark.parametrize('name', ['tiny.pth', 'tiny_legacy.pth', 'tiny.h5', 'tiny_keras1.h5'])
def test_files_written_by_pytorch_and_in_the_layout_of_keras(name) -> None:
  """The .pth files hold strided and shared storages, as published ones do."""
  if name.endswith('.h5'):
    pytest.importorskip('h5py')
  loaded = load.load('tiny', FIXTURES / name, 5)
  np.testing.assert_equal(loaded.variables, expected())
  assert loaded.unused == ()


def test_safetensors(tmp_path) -> None:
  path = write_safetensors(tmp_path / 'a.safetensors', tensors())
  np.testing.assert_equal(load.load('tiny', path, 5).variables, expected())
  halves = {name: array.astype(np.float16) for name, array in tensors().items()}
  loaded = load.load('tiny', write_safetensors(path, halves), 5).variables
  np.testing.assert_allclose(loaded['params']['fc']['bias'], tensors()['fc.bias'], rtol=1e-3)


@pytest.mark.parametrize('prefix', ['module.', '_orig_mod.', 'model.', 'module._orig_mod.'])
def test_names_of_a_wrapped_network(tmp_path, prefix) -> None:
  """As `torch.nn.DataParallel`, `torch.compile` and Lightning save them."""
  wrapped = {prefix + name: array for name, array in tensors().items()}
  path = write_safetensors(tmp_path / 'a.safetensors', wrapped)
  np.testing.assert_equal(load.load('tiny', path, 5).variables, expected())


def test_a_prefix_of_some_names_alone_is_not_taken_off(tmp_path) -> None:
  mixed = {f'module.{name}' if 'bn' in name else name: a for name, a in tensors().items()}
  path = write_safetensors(tmp_path / 'a.safetensors', mixed)
  with pytest.raises(UserError, match=r'module\.bn'):
    load.load('tiny', path, 5)


def test_a_file_without_arrays(tmp_path) -> None:
  path = write_safetensors(tmp_path / 'a.safetensors', {})
  with pytest.raises(UserError, match=r'a\.safetensors lacks '):
    load.load('tiny', path, 5)


def test_bfloat16(tmp_path) -> None:
  values = np.array([1.0, -2.5, 3e38], np.float32)
  upper = (values.view(np.uint32) >> 16).astype('<u2').tobytes()
  header = {'a': {'dtype': 'BF16', 'shape': [3], 'data_offsets': [0, 6]}}
  text = json.dumps(header).encode()
  (tmp_path / 'b.safetensors').write_bytes(struct.pack('<Q', len(text)) + text + upper)
  found = safetensors_files.read(tmp_path / 'b.safetensors')['a']
  np.testing.assert_allclose(found, values, rtol=2**-8)


def test_without_the_top_its_tensors_are_unused_and_listed() -> None:
  loaded = load.load('tiny', FIXTURES / 'tiny.pth')
  assert set(loaded.unused) == {'fc.weight', 'fc.bias'}
  assert 'fc' not in loaded.variables['params']


def test_every_missing_and_every_wrong_tensor_is_named(tmp_path) -> None:
  found = tensors()
  del found['bn.bias'], found['conv.weight']
  path = write_safetensors(tmp_path / 'a.safetensors', {**found, 'other': np.zeros(3, np.float32)})
  with pytest.raises(UserError) as error:
    load.load('tiny', path, 5)
  for name in ('params/bn/bias', 'params/conv/kernel', 'other'):
    assert name in str(error.value)
  path = write_safetensors(path, {**tensors(), 'fc.bias': np.zeros(4, np.float32)})
  with pytest.raises(UserError, match=r'fc\.bias \[4\] for params/fc/bias \[5\]'):
    load.load('tiny', path, 5)


def test_where_weights_are_looked_for(tmp_path, monkeypatch) -> None:
  monkeypatch.setenv('KERAS_HOME', str(tmp_path / 'keras'))
  monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
  with pytest.raises(UserError, match=r'weights of tiny are not to be found .*tiny\.pth') as error:
    load.find('tiny', '')
  assert str(tmp_path / 'keras' / 'models' / 'tiny.h5') in str(error.value)
  (tmp_path / 'keras' / 'models').mkdir(parents=True)
  (tmp_path / 'keras' / 'models' / 'tiny.h5').touch()
  assert load.find('tiny', '') == tmp_path / 'keras' / 'models' / 'tiny.h5'
  assert load.find('tiny', str(tmp_path / 'keras/models/tiny.h5')).is_file()
  (tmp_path / 'x.onnx').touch()
  with pytest.raises(UserError, match=r'is none of \.h5, \.hdf5, \.pth'):
    load.load('tiny', tmp_path / 'x.onnx')


class Malicious:
  """A pickle that would write a file."""

  def __init__(self, target: pathlib.Path):
    self.target = target

  def __reduce__(self):
    return (open, (str(self.target), 'w'))


def legacy(content: bytes) -> bytes:
  start = [torch_files._LEGACY_MAGIC, torch_files._LEGACY_PROTOCOL, {'little_endian': True}]
  return b''.join(pickle.dumps(part, 2) for part in start) + content + pickle.dumps([], 2)


@pytest.mark.parametrize('form', ['zip', 'legacy'])
def test_nothing_is_run(form, tmp_path) -> None:
  witness, path = tmp_path / 'witness', tmp_path / 'evil.pth'
  content = pickle.dumps({'a': Malicious(witness)}, 2)
  if form == 'zip':
    with zipfile.ZipFile(path, 'w') as archive:
      archive.writestr('evil/data.pkl', content)
  else:
    path.write_bytes(legacy(content))
  with pytest.raises(UserError, match=r'wants to use (io|_io|__builtin__|builtins)\.open'):
    torch_files.read(path)
  assert not witness.exists()


def test_a_torchscript_program_is_told_from_damage(tmp_path) -> None:
  """As torch.jit.save writes it, with its code packed."""
  path = tmp_path / 'net.pt'
  with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr('net/data.pkl', b'')
    archive.writestr('net/code/__torch__.py', b'class Net:\n  pass\n' * 100)
    archive.writestr('net/constants.pkl', b'')
  with pytest.raises(UserError, match=r'it is a TorchScript program; save the weights alone by to'):
    torch_files.read(path)


def test_few_bytes_do_not_reserve_much_memory(tmp_path) -> None:
  path = tmp_path / 'evil.pth'
  with zipfile.ZipFile(path, 'w') as archive:
    size = struct.pack('<Q', 2**62)
    archive.writestr('evil/data.pkl', b'\x80\x05' + pickle.BYTEARRAY8 + size + pickle.STOP)
  with pytest.raises(UserError, match=r'damaged \(KeyError'):  # no MemoryError: it is not tried
    torch_files.read(path)
  header = b'[' * 20_000_000
  path = tmp_path / 'evil.safetensors'
  path.write_bytes(struct.pack('<Q', len(header)) + header)
  with pytest.raises(UserError, match='header has more than 10,000,000 bytes'):
    safetensors_files.read(path)


def test_parts_of_an_archive_that_lie_in_the_same_bytes_are_refused(tmp_path) -> None:
  path = tmp_path / 'evil.pth'
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('a/data.pkl', storage_pickle(0, (600,), (1,), 600))
    archive.writestr('a/data/0', np.ones(600, '<f4').tobytes())
    there = archive.getinfo('a/data/0')
    for number in range(1, 4):  # further names of the same member
      again = copy.copy(there)
      again.filename = again.orig_filename = f'a/data/{number}'
      archive.filelist.append(again)
  with pytest.raises(UserError, match='its parts overlap'):
    torch_files.read(path)


def storage_pickle(offset: int, shape: tuple, strides: tuple, count: int) -> bytes:
  """A state dict {'a': tensor} written opcode by opcode, as PyTorch does."""

  class Writer(pickle._Pickler):
    def persistent_id(self, value):
      return value[1:] if isinstance(value, tuple) and value[:1] == ('pid',) else None

    def save_global(self, value, name=None):
      self.write(pickle.GLOBAL + value.module.encode() + b'\n' + value.name.encode() + b'\n')

  class Named:
    def __init__(self, module, name):
      self.module, self.name = module, name

    def __reduce__(self):
      return self.name

  stream = io.BytesIO()
  writer = Writer(stream, 2)
  writer.write(pickle.PROTO + b'\x02' + pickle.EMPTY_DICT)
  writer.save('a')
  writer.write(b'ctorch._utils\n_rebuild_tensor_v2\n')
  writer.write(pickle.MARK)
  writer.write(pickle.MARK)
  writer.save('storage')
  writer.write(b'ctorch\nFloatStorage\n')
  for value in ('0', 'cpu', count):
    writer.save(value)
  writer.write(pickle.TUPLE + pickle.BINPERSID)
  for value in (offset, shape, strides, False, None):
    writer.save(value)
  writer.write(pickle.TUPLE + pickle.REDUCE + pickle.SETITEM + pickle.STOP)
  return stream.getvalue()


@pytest.mark.parametrize(
  ('offset', 'shape', 'strides', 'good'),
  [
    (0, (2, 3), (3, 1), True),
    (0, (3, 2), (1, 3), True),
    (1, (2, 3), (3, 1), False),  # one number too far
    (0, (2, 3), (4, 1), False),
    (0, (10**9,), (0,), False),  # a gigabyte out of one number
    (-1, (2,), (1,), False),
    (0, (2,), (-1,), False),
    (0, (2, 2), (1,), False),
    (2**62, (2,), (2**62,), False),
  ],
)
def test_a_tensor_never_reaches_beyond_its_storage(offset, shape, strides, good, tmp_path) -> None:
  path = tmp_path / 'a.pth'
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('a/data.pkl', storage_pickle(offset, shape, strides, 6))
    archive.writestr('a/data/0', np.arange(6, dtype='<f4').tobytes())
  if good:
    found = torch_files.read(path)['a']
    wanted = np.arange(6).reshape(2, 3)
    assert np.array_equal(found, wanted if shape == (2, 3) else wanted.T)
  else:
    with pytest.raises(UserError, match='is no PyTorch file of tensors, or damaged'):
      torch_files.read(path)


@pytest.mark.parametrize(
  ('read', 'name', 'flips'),
  [
    (torch_files.read, 'tiny.pth', True),
    (torch_files.read, 'tiny_legacy.pth', True),
    (safetensors_files.read, '', True),
    # HDF5's own library may search for ever where bits of its tables are flipped.
    (keras_files.read, 'tiny.h5', False),
  ],
)
def test_damaged_files_are_one_sentence(read, name, flips, tmp_path) -> None:
  if name.endswith('.h5'):
    pytest.importorskip('h5py')
  if name:
    whole = (FIXTURES / name).read_bytes()
  else:
    whole = write_safetensors(tmp_path / 'whole', tensors()).read_bytes()
  generator = np.random.default_rng(0)
  path = tmp_path / 'file'
  refused = 0
  for number in range(40):
    data = bytearray(whole)
    if number % 2 or not flips:
      data = data[: generator.integers(0, len(data) // 2)]
    else:
      for _ in range(8):
        data[generator.integers(len(data))] ^= 1 << int(generator.integers(8))
    path.write_bytes(data)
    with contextlib.suppress(UserError):  # and nothing else
      read(path)
      continue
    refused += 1
  assert refused >= 20


def test_links_out_of_an_h5_file_are_refused(tmp_path) -> None:
  h5py = pytest.importorskip('h5py')
  with h5py.File(tmp_path / 'secret.h5', 'w') as file:
    file['value'] = np.ones(6, np.float32)
  with h5py.File(tmp_path / 'a.h5', 'w') as file:
    file.attrs['layer_names'] = [b'fc']
    group = file.create_group('fc')
    group.attrs['weight_names'] = [b'kernel:0']
    group['kernel:0'] = h5py.ExternalLink('secret.h5', '/value')
  with pytest.raises(UserError, match='is a link'):
    keras_files.read(tmp_path / 'a.h5')
