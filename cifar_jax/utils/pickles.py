"""Reads the pickles of the official CIFAR archives without running anything that they contain.

A pickle is a program that may call whatever it can name. These name four things: NumPy's array
constructor, its array and dtype types, and `_codecs.encode` where Python 3 wrote them. Each is
given a stand-in of our own, so not even NumPy's code runs on what a file says, and every other
name is refused.
"""

import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from cifar_jax.utils.errors import UserError, as_user_error


def read_pickle(data: bytes, where: str) -> dict[str, Any]:
  """Reads one official batch or meta file.

  Args:
    data: The bytes of the file; the caller limits their number.
    where: What errors call the file.

  Returns:
    The dictionary of the file with its keys as text; arrays are uint8, text remains bytes where
    Python 2 wrote it.

  Raises:
    UserError: the pickle is damaged, names something forbidden or is no dictionary.
  """
  with as_user_error(f'{where} is damaged', '; get the file again.'):
    try:
      content = RestrictedUnpickler(io.BytesIO(data), _GLOBALS, encoding='bytes').load()
    except ForbiddenError as error:
      raise UserError(
        f'{where} is a pickle that wants to use {error}, which the official files never do; '
        'it was not run: get the file again from its official source.'
      ) from None
    if not isinstance(content, dict):
      raise pickle.UnpicklingError('it holds no dictionary')
    return {key: _plain(value) for key, value in content.items()}


class ForbiddenError(Exception):
  """Names the global that a pickle may not use."""


class Allowed:
  """Stands for a permitted global: it may be called or passed on, but not altered."""

  __slots__ = ('_function',)

  def __init__(self, function: Callable[..., Any]):
    self._function = function

  def __call__(self, *arguments: Any) -> Any:
    """What the stand-in makes of a call in the pickle."""
    return self._function(*arguments)

  def __setstate__(self, state: Any) -> None:
    raise pickle.UnpicklingError('it alters a function')


class _Dtype:
  """Stands for `numpy.dtype('u1')`, the only type of array in the official files."""

  __slots__ = ()

  def __setstate__(self, state: Any) -> None:
    """Byte order and flags: one byte has none."""


class _Array:
  """Stands for an array until its state, the last thing in the pickle, is known."""

  __slots__ = ('value',)

  def __init__(self) -> None:
    self.value = np.zeros(0, np.uint8)

  def __setstate__(self, state: Any) -> None:
    _, shape, dtype, fortran_order, content = state
    if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
      raise pickle.UnpicklingError('an array is not uint8')
    order = 'F' if fortran_order is True else 'C'
    self.value = np.frombuffer(content, np.uint8).reshape(shape, order=order)  # type: ignore[call-overload]


def _make_dtype(code: Any, *_: Any) -> _Dtype:
  if code not in ('u1', b'u1'):
    raise pickle.UnpicklingError(f'an array has the type {code!r} instead of uint8')
  return _Dtype()


def _encode(text: Any, encoding: Any) -> bytes:
  """How Python 3 spells bytes in protocol 2."""
  if not isinstance(text, str) or encoding not in ('latin1', b'latin1'):
    raise pickle.UnpicklingError(f'text has the encoding {encoding!r}')
  return text.encode('latin1')


def _not_callable(*_: Any) -> None:
  raise pickle.UnpicklingError('it calls numpy.ndarray')


_RECONSTRUCT = Allowed(lambda *_: _Array())
_GLOBALS: Mapping[tuple[str, str], Allowed] = {
  ('numpy.core.multiarray', '_reconstruct'): _RECONSTRUCT,
  ('numpy._core.multiarray', '_reconstruct'): _RECONSTRUCT,
  ('numpy', 'ndarray'): Allowed(_not_callable),
  ('numpy', 'dtype'): Allowed(_make_dtype),
  ('_codecs', 'encode'): Allowed(_encode),
}


# The Unpickler written in Python, not the faster one in C: it keeps its memo in a dictionary and
# reads strings from the bytes at hand, so a few forged bytes cannot make it reserve gigabytes.
class RestrictedUnpickler(pickle._Unpickler):
  """An unpickler that knows the names it is given, and no key but text.

  Keys are hashed, and hashing a tuple in a tuple in a tuple ... runs out of C stack, which no
  exception reports. So sets are unknown, and dictionaries are filled by code of our own. Nor are
  there bytearrays, which are made as large as a pickle says before a byte of them is read.
  """

  def __init__(
    self, stream: io.BytesIO, allowed: Mapping[tuple[str, str], Allowed], encoding: str = 'ASCII'
  ):
    super().__init__(stream, encoding=encoding)
    self._allowed = allowed

  _takes_numbers = False  # as keys, which become text
  stack: list[Any]  # as the base class calls it; what was pushed since the last mark
  pop_mark: Callable[[], list[Any]]

  dispatch: ClassVar[dict[int, Any]] = {
    code: load
    for code, load in pickle._Unpickler.dispatch.items()
    if code not in (*pickle.ADDITEMS, *pickle.FROZENSET, *pickle.BYTEARRAY8)
  }

  def _load_dict(self) -> None:
    items = self.pop_mark()
    self.stack.append({})
    self._fill(items)

  def _load_setitem(self) -> None:
    value, key = self.stack.pop(), self.stack.pop()
    self._fill([key, value])

  def _load_setitems(self) -> None:
    self._fill(self.pop_mark())

  def _fill(self, items: list[Any]) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
      is_number = self._takes_numbers and isinstance(key, int)
      self.stack[-1][str(key) if is_number else _text(key)] = value

  dispatch[pickle.DICT[0]] = _load_dict
  dispatch[pickle.SETITEM[0]] = _load_setitem
  dispatch[pickle.SETITEMS[0]] = _load_setitems

  def find_class(self, module: str, name: str) -> Allowed:
    """Resolves a name in the pickle to its stand-in."""
    try:
      return self._allowed[module, name]
    except KeyError:
      raise ForbiddenError(f'{module}.{name}') from None


def _text(key: Any) -> str:
  """The key of an entry, which Python 2 wrote as bytes."""
  if not isinstance(key, bytes | str):
    raise pickle.UnpicklingError('the name of an entry is no text')
  return key.decode('latin1') if isinstance(key, bytes) else key


def _plain(value: Any) -> Any:
  """Replaces a stand-in by its array."""
  if isinstance(value, Allowed | _Dtype):
    raise pickle.UnpicklingError('it holds a type instead of data')
  return value.value if isinstance(value, _Array) else value
