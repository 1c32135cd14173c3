"""Reads the tensors of PyTorch's files, zip and legacy, without PyTorch and without running them.

Both hold pickles, and a pickle is a program. It may name the few things below and nothing else;
each is a stand-in of our own that does no more than remember numbers, and each tensor's shape is
checked against the bytes that are there.
"""

import io
import pathlib
import pickle
import struct
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from cifar_jax.utils.array_types import Numbers, UpperHalves
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.pickles import Allowed, ForbiddenError, RestrictedUnpickler

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
# What checkpoints of a training call the state dict of the network.
_NETWORKS = ('state_dict', 'model_state_dict', 'model', 'net')
_BFLOAT16 = 'bfloat16'
_TYPES: Mapping[str, str] = {
  'FloatStorage': '<f4',
  'DoubleStorage': '<f8',
  'HalfStorage': '<f2',
  'BFloat16Storage': _BFLOAT16,
  'LongStorage': '<i8',
  'IntStorage': '<i4',
  'ShortStorage': '<i2',
  'CharStorage': 'i1',
  'ByteStorage': 'u1',
  'BoolStorage': '?',
}


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
  """The tensors of a state dict, by name; in a checkpoint of a training, those of its network.

  Raises:
    UserError: the file cannot be read, is damaged, or wants to use anything but tensors.
  """
  try:
    content = _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path.read_bytes())
    while isinstance(content, dict):
      inner = next((content[key] for key in _NETWORKS if key in content), None)
      if not isinstance(inner, dict):
        break
      content = inner
    if not isinstance(content, dict):
      raise pickle.UnpicklingError('it holds no state dict')
    tensors = {name: v.array() for name, v in content.items() if isinstance(v, _Tensor)}
    if not tensors:
      raise pickle.UnpicklingError('it holds no tensor')
    return tensors
  except ForbiddenError as error:
    raise UserError(
      f'{path} is a pickle that wants to use {error}, which files of weights do not need; '
      'it was not run: save the state dict alone, or get the file from its official source'
    ) from None
  except OSError as error:
    raise UserError(f'{path} cannot be read ({error.strerror or error})') from None
  except Exception as error:  # a damaged pickle can raise almost anything
    raise UserError(
      f'{path} is no PyTorch file of tensors, or damaged ({type(error).__name__}: {error})'
    ) from None


def from_bfloat16(values: UpperHalves) -> Numbers:
  """Returns the numbers whose upper halves are `values`."""
  return (values.astype(np.uint32) << 16).view(np.float32)


class _Dict(dict):
  """Stands for an ordered dictionary; what else is attached to it is dropped."""

  def __setstate__(self, state: Any) -> None:
    """The versions of modules, which PyTorch keeps beside a state dict."""


class _Storage:
  """The numbers that one or several tensors look at; in legacy files they come after the pickle."""

  def __init__(self, kind: str, count: int):
    self.kind, self.count = kind, count
    self.values: np.ndarray | None = None

  @property
  def item_bytes(self) -> int:
    return 2 if self.kind == _BFLOAT16 else np.dtype(self.kind).itemsize

  def fill(self, data: bytes | memoryview) -> None:
    """Takes the bytes, exactly as many as it has numbers for."""
    if len(data) != self.count * self.item_bytes:
      raise pickle.UnpicklingError(f'a storage has {len(data)} bytes for {self.count} numbers')
    if self.kind == _BFLOAT16:
      self.values = from_bfloat16(np.frombuffer(data, '<u2'))
    else:
      self.values = np.frombuffer(data, self.kind)


class _Tensor:
  """A view of a storage."""

  def __init__(self, storage: Any, offset: Any, shape: Any, strides: Any):
    numbers = (offset, *shape, *strides)
    whole = all(type(number) is int and number >= 0 for number in numbers)
    if not isinstance(storage, _Storage) or not whole or len(shape) != len(strides):
      raise pickle.UnpicklingError('a tensor is not described by a storage and whole numbers')
    self._storage, self._offset = storage, offset
    self._shape, self._strides = tuple(shape), tuple(strides)

  def array(self) -> np.ndarray:
    """The numbers; raises UnpicklingError where the storage does not hold them all."""
    values = self._storage.values
    if values is None:
      raise pickle.UnpicklingError('a storage is missing')
    if 0 in self._shape:
      return np.zeros(self._shape, values.dtype)
    steps = zip(self._shape, self._strides, strict=True)
    last = self._offset + sum((size - 1) * stride for size, stride in steps)
    if last >= len(values) or np.prod(self._shape, dtype=float) > len(values):
      raise pickle.UnpicklingError('a tensor reaches beyond its storage')
    start = values[self._offset :]
    return np.lib.stride_tricks.as_strided(
      start, self._shape, [stride * values.itemsize for stride in self._strides], writeable=False
    )


class _StorageType:
  """Stands for torch.FloatStorage and the like."""

  def __init__(self, kind: str):
    self.kind = kind


_ALLOWED: Mapping[tuple[str, str], Any] = {
  ('collections', 'OrderedDict'): Allowed(lambda *_: _Dict()),
  ('torch._utils', '_rebuild_tensor_v2'): Allowed(lambda *described: _Tensor(*described[:4])),
  ('torch._utils', '_rebuild_parameter'): Allowed(lambda tensor, *_: tensor),
  **{('torch', name): _StorageType(kind) for name, kind in _TYPES.items()},
}


class _Unpickler(RestrictedUnpickler):
  """Knows tensors, and collects the storages that they look at."""

  _takes_numbers = True  # of an optimizer, which numbers its entries

  def __init__(self, stream: io.BytesIO):
    super().__init__(stream, _ALLOWED, encoding='utf-8')
    self.storages: dict[str, _Storage] = {}

  def persistent_load(self, pid: Any) -> _Storage:
    """('storage', type, key, device, count) and, in legacy files, a view of it."""
    kind, storage_type, key, _, count, *view = pid
    if kind != 'storage' or not isinstance(storage_type, _StorageType) or not isinstance(key, str):
      raise pickle.UnpicklingError('a storage is not described as one')
    if type(count) is not int or count < 0 or any(part is not None for part in view):
      raise pickle.UnpicklingError('a storage is not described as one')
    known = self.storages.setdefault(key, _Storage(storage_type.kind, count))
    if (known.kind, known.count) != (storage_type.kind, count):
      raise pickle.UnpicklingError(f'storage {key} is described in two ways')
    return known


def _read_zip(path: pathlib.Path) -> Any:
  with zipfile.ZipFile(path) as archive:
    members = {info.filename: info for info in archive.infolist()}
    found = [name for name in members if name == 'data.pkl' or name.endswith('/data.pkl')]
    if len(found) != 1:
      raise pickle.UnpicklingError('it has no data.pkl')
    root = found[0].removesuffix('data.pkl')
    if f'{root}byteorder' in members and archive.read(f'{root}byteorder') != b'little':
      raise pickle.UnpicklingError('it was written on a big-endian machine')
    if any(name.startswith(f'{root}code/') for name in members):
      raise pickle.UnpicklingError(
        'it is a TorchScript program; save the weights alone by torch.save(model.state_dict(), ...)'
      )
    # PyTorch does not compress, so all members together are no larger than the file.
    compressed = [info for info in members.values() if info.compress_type != zipfile.ZIP_STORED]
    if compressed:
      raise pickle.UnpicklingError(f'{compressed[0].filename} is compressed')
    if sum(info.file_size for info in members.values()) > path.stat().st_size:
      raise pickle.UnpicklingError('its parts overlap')
    unpickler = _Unpickler(io.BytesIO(archive.read(found[0])))
    content = unpickler.load()
    for key, storage in unpickler.storages.items():
      storage.fill(archive.read(f'{root}data/{key}'))
    return content


def _read_legacy(data: bytes) -> Any:
  """Magic number, version and byte order as pickles of their own, then the state dict, then the
  keys of its storages, then for each a count and its bytes.
  """
  stream = io.BytesIO(data)
  magic, version, system = (_Unpickler(stream).load() for _ in range(3))
  if magic != _LEGACY_MAGIC or version != _LEGACY_PROTOCOL:
    raise pickle.UnpicklingError('it has neither of the two formats')
  if not system.get('little_endian', True):
    raise pickle.UnpicklingError('it was written on a big-endian machine')
  unpickler = _Unpickler(stream)
  content = unpickler.load()
  keys = _Unpickler(stream).load()
  if not isinstance(keys, list) or set(keys) != set(unpickler.storages):
    raise pickle.UnpicklingError('its list of storages is not that of its tensors')
  view = memoryview(data)
  position = stream.tell()
  for key in keys:
    storage = unpickler.storages[key]
    (count,) = struct.unpack_from('<q', data, position)
    position += 8
    if count != storage.count:
      raise pickle.UnpicklingError(f'storage {key} has another size than its tensors say')
    end = position + count * storage.item_bytes
    storage.fill(view[position:end])
    position = end
  return content
