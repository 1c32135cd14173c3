"""Reads and writes .safetensors: a length, JSON that names dtypes, shapes and places, then the
bytes.
"""

import json
import math
import pathlib
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from cifar_jax.utils.errors import UserError
from cifar_jax.weights.torch_files import from_bfloat16

_LONGEST_HEADER = 10_000_000  # bytes; JSON takes some twenty times as much memory
_ALIGNMENT = 8  # bytes, of where the tensors begin
_TYPES: Mapping[str, str] = {
  'F64': '<f8',
  'F32': '<f4',
  'F16': '<f2',
  'BF16': '<u2',  # the upper half of a float32
  'I64': '<i8',
  'I32': '<i4',
  'I16': '<i2',
  'I8': 'i1',
  'U8': 'u1',
  'BOOL': '?',
}


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
  """The tensors of a file by name, mapped from disk.

  Raises:
    UserError: the file cannot be read or is damaged.
  """
  try:
    data = np.memmap(path, np.uint8, 'r')
    (length,) = struct.unpack('<Q', data[:8].tobytes())
    if length > len(data) - 8:
      raise ValueError('its header reaches beyond it')
    if length > _LONGEST_HEADER:
      raise ValueError(f'its header has more than {_LONGEST_HEADER:,} bytes')
    header = json.loads(data[8 : 8 + length].tobytes())
    body = data[8 + length :]
    tensors = {name: _tensor(body, e) for name, e in header.items() if name != '__metadata__'}
    # A small file must not say that it holds many large arrays, all in the same place.
    if sum(_bytes_of(e) for name, e in header.items() if name != '__metadata__') > len(body):
      raise ValueError('its tensors overlap')
    return tensors
  except OSError as error:
    raise UserError(f'{path} cannot be read ({error.strerror or error})') from None
  except (ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError) as error:
    raise UserError(f'{path} is no .safetensors file, or damaged ({error})') from None


def write(
  path: pathlib.Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
  """Writes tensors by name, those of the widest dtype first, as the format's own library does.

  Args:
    path: The file, which is overwritten.
    tensors: Arrays of the dtypes of `_TYPES` other than BF16.
    metadata: Texts about them, which the header keeps.

  Raises:
    ValueError: the format has no such dtype.
    OSError: the file cannot be written.
  """
  names = {np.dtype(dtype): name for name, dtype in _TYPES.items() if name != 'BF16'}
  little = {name: np.asarray(tensor) for name, tensor in tensors.items()}
  little = {name: a.astype(a.dtype.newbyteorder('<'), copy=False) for name, a in little.items()}
  header: dict[str, Any] = {'__metadata__': dict(metadata)} if metadata else {}
  order = sorted(little, key=lambda name: (-little[name].dtype.itemsize, name))
  place = 0
  for name in order:
    array = little[name]
    if array.dtype not in names:
      raise ValueError(f'{name} is of the dtype {array.dtype}, which .safetensors does not have')
    offsets = [place, place + array.nbytes]
    header[name] = {
      'dtype': names[array.dtype],
      'shape': list(array.shape),
      'data_offsets': offsets,
    }
    place = offsets[1]
  text = json.dumps(header, separators=(',', ':')).encode()
  text += b' ' * (-len(text) % _ALIGNMENT)
  with path.open('wb') as file:
    file.write(struct.pack('<Q', len(text)) + text)
    for name in order:
      file.write(np.ascontiguousarray(little[name]).tobytes())


def _bytes_of(entry: Mapping[str, Any]) -> int:
  start, end = entry['data_offsets']
  return int(end) - int(start)


def _tensor(body: np.ndarray, entry: Mapping[str, Any]) -> np.ndarray:
  kind, shape, (start, end) = entry['dtype'], entry['shape'], entry['data_offsets']
  if not all(type(number) is int and number >= 0 for number in (start, end, *shape)):
    raise ValueError('a shape or place is no whole number')
  values = body[start:end]
  if end > len(body) or len(values) != math.prod(shape) * np.dtype(_TYPES[kind]).itemsize:
    raise ValueError('a tensor reaches beyond the file, or its size is not that of its shape')
  array = values.view(_TYPES[kind]).reshape(shape)
  return from_bfloat16(array) if kind == 'BF16' else array
