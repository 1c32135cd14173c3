"""Arrays of numbers in MATLAB's files of version 5: what `save -v7` and SciPy's savemat write.

Format: The MathWorks, "MAT-File Format", 2014. A header of 128 bytes, then an element for each
variable, plain or packed by zlib. Nothing is unpacked or allocated beyond what its reader allows
and the file itself fills, whatever a header says. (SciPy's `loadmat` ends the process on some
damaged files.)
"""

import dataclasses
import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np

_HEADER = 128
_VERSION_5 = 0x0100
_MATRIX, _PACKED = 14, 15
# Type of an element -> that of NumPy.
_TYPES = {
  **{1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 9: 'f8', 12: 'i8', 13: 'u8'},
}
# Class of a variable -> what MATLAB calls it, and its type where it is one of numbers.
_CLASSES = {
  **{1: ('cell', ''), 2: ('struct', ''), 3: ('object', ''), 4: ('char', ''), 5: ('sparse', '')},
  **{6: ('double', 'f8'), 7: ('single', 'f4'), 8: ('int8', 'i1'), 9: ('uint8', 'u1')},
  **{10: ('int16', 'i2'), 11: ('uint16', 'u2'), 12: ('int32', 'i4'), 13: ('uint32', 'u4')},
  **{14: ('int64', 'i8'), 15: ('uint64', 'u8')},
}
_COMPLEX = 0x0800
_MOST_AXES = 32
# Photographs pack to more than half; a few bytes that claim to be many, to a thousandth.
_MOST_PACKED, _SLACK = 100, 1 << 20


@dataclasses.dataclass(frozen=True)
class Variable:
  """A variable of a file.

  Attributes:
    name: What it is called.
    kind: What MATLAB calls its class: 'uint8', 'double', 'cell'.
    shape: Its dimensions, two at least.
    array: Its numbers; None where it has no real ones.
  """

  name: str
  kind: str
  shape: tuple[int, ...]
  array: np.ndarray | None


def variables(content: bytes, most: int) -> Iterator[Variable]:
  """The variables of a file, one after the other.

  Args:
    content: All bytes of the file.
    most: The bytes to which one of them may unpack.

  Raises:
    ValueError: it is no such file, or one that is damaged; a sentence says how.
  """
  order = {b'IM': '<', b'MI': '>'}.get(content[_HEADER - 2 : _HEADER])
  if order is None or struct.unpack_from(f'{order}H', content, _HEADER - 4)[0] != _VERSION_5:
    raise ValueError('it is of no version that is read: save it in MATLAB with -v7')
  rest = memoryview(content)[_HEADER:]
  while len(rest) >= 8:
    kind, size = struct.unpack_from(f'{order}II', rest)
    if size > len(rest) - 8:
      raise ValueError('it ends within a variable')
    element, rest = rest[8 : 8 + size], rest[8 + size :]
    if kind == _PACKED:
      unpacker = zlib.decompressobj()
      limit = min(most, _MOST_PACKED * size + _SLACK)
      element = memoryview(unpacker.decompress(element, limit))
      if not unpacker.eof:
        raise ValueError(f'a variable is cut, or unpacks to more than {limit:,} bytes')
      kind, element = _element(element, order)[:2]
    if kind == _MATRIX:
      yield _variable(element, order)


def _element(content: memoryview, order: str) -> tuple[int, memoryview, memoryview]:
  """Type and bytes of the first element, and what comes after it."""
  if len(content) < 8:
    raise ValueError('it ends within a variable')
  kind, size = struct.unpack_from(f'{order}II', content)
  if small := kind >> 16:  # up to four bytes stand in the place of the size
    return kind & 0xFFFF, content[4 : 4 + min(small, 4)], content[8:]
  if size > len(content) - 8:
    raise ValueError('it ends within a variable')
  return kind, content[8 : 8 + size], content[8 + size + -size % 8 :]


def _numbers(content: memoryview, order: str) -> tuple[np.ndarray, memoryview]:
  """The numbers of the first element, and what comes after it."""
  kind, found, rest = _element(content, order)
  if kind not in _TYPES:
    raise ValueError(f'it has an element of the type {kind} where numbers belong')
  dtype = np.dtype(order + _TYPES[kind])
  if len(found) % dtype.itemsize:
    raise ValueError('a number of it is cut')
  return np.frombuffer(found, dtype), rest


def _variable(content: memoryview, order: str) -> Variable:
  flags, content = _numbers(content, order)
  dimensions, content = _numbers(content, order)
  letters, content = _numbers(content, order)
  if len(flags) < 1 or flags.dtype.kind != 'u' or dimensions.dtype.kind != 'i':
    raise ValueError('a variable begins with something else')
  shape = tuple(int(length) for length in dimensions[: _MOST_AXES + 1])
  if not 2 <= len(shape) <= _MOST_AXES or min(shape) < 0:
    raise ValueError('the dimensions of a variable are none')
  name = letters.tobytes().decode('latin-1')
  kind, dtype = _CLASSES.get(int(flags[0]) & 0xFF, ('of another class', ''))
  if not dtype or int(flags[0]) & _COMPLEX:
    return Variable(name, kind, shape, None)
  numbers, _ = _numbers(content, order)
  if len(numbers) != math.prod(shape):
    raise ValueError(f'{name[:20]!r} has {len(numbers)} numbers, and its dimensions others')
  # Doubles that are whole are stored as such.
  array = numbers.astype(dtype, copy=False).reshape(shape, order='F')
  return Variable(name, kind, shape, array)
