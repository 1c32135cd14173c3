"""What can be made again, kept on disk for the next time."""

import dataclasses
import pathlib
import sys
import tempfile
from collections.abc import Callable
from typing import Generic, TypeVar

from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import replacing
from cifar_jax.utils.paths import cache_folder

Value = TypeVar('Value')

REMEDY = 'export CIFAR_JAX_CACHE=/a/folder/with/room'

# What readers raise where there is no file, or not the one that was written.
_UNUSABLE = (OSError, ValueError, KeyError, TypeError, EOFError, UserError)


def why_unwritable() -> str:
  """Why nothing can be kept in the cache folder, which is made; '' if something can."""
  folder = cache_folder()
  try:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
      file.write(bytes(4096))
  except OSError as error:
    return (
      f'{folder} cannot be written ({error.strerror}), so that every start compiles and prepares '
      'data anew'
    )
  return ''


def warn_if_unwritable() -> None:
  """Prints a line on stderr where nothing can be kept in the cache folder."""
  if reason := why_unwritable():
    print(f'WARNING: {reason}; choose another folder: {REMEDY}', file=sys.stderr, flush=True)


@dataclasses.dataclass(frozen=True)
class CacheEntry(Generic[Value]):
  """A file or a folder of the cache, which is whole or not there, whoever else writes it.

  Attributes:
    path: Where it is. The name, or what is written, has to tell of what it was made, and by which
      version of the code.
    read: Returns the content of an entry at a path; it raises an OSError, ValueError, KeyError,
      TypeError, EOFError or UserError where that is damaged or outdated.
  """

  path: pathlib.Path
  read: Callable[[pathlib.Path], Value]

  def load(self) -> Value | None:
    """Returns the content, or None where there is none that can be used."""
    try:
      return self.read(self.path)
    except _UNUSABLE:
      return None

  def store(self, write: Callable[[pathlib.Path], object]) -> None:
    """Makes the entry by a function that writes a file or a folder at the path that it is given.

    Raises:
      OSError: there is no room or no permission; what was there before still is.
    """
    self.path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(self.path, shared=True) as draft:
      write(draft)

  def load_or_store(
    self, write: Callable[[pathlib.Path], object], what: str, otherwise: str
  ) -> Value:
    """Returns the content, which is made first where it is missing.

    Args:
      write: The function that makes it, see `store`.
      what: What is kept, for an error sentence.
      otherwise: How the user can do without, the end of that sentence.

    Raises:
      UserError: it cannot be written, or not be read back.
    """
    if (found := self.load()) is not None:
      return found
    try:
      self.store(write)
    except OSError as error:
      raise UserError(
        f'{self.path.parent} cannot keep {what} ({error.strerror}); make room there, set '
        f'$CIFAR_JAX_CACHE to another folder, or {otherwise}'
      ) from None
    if (found := self.load()) is None:
      raise UserError(f'{self.path} was written but cannot be read back; check that disk')
    return found
