"""The JSON files of a run or of a model folder, which a crash, a copy or an editor may have left in
any state.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import read_regular

_MOST = 2**28  # bytes
WEIGHTS = 'model.safetensors'  # the file that makes a folder a model folder
# Their content is known to the checkpoints, or measured again.
_WRITTEN_AGAIN = ('config.json', 'summary.json')


def read(path: pathlib.Path) -> dict[str, Any]:
  """The object in a JSON file.

  Raises:
    FileNotFoundError: there is no such file.
    UserError: it cannot be read or holds something else.
  """
  try:
    # Some editors begin a file with a mark of its encoding.
    content = json.loads(read_regular(path, _MOST).decode('utf-8-sig'))
  except FileNotFoundError:
    if os.path.lexists(path):
      raise damaged(path, 'it is a link to nothing') from None
    raise
  except OSError as error:
    raise damaged(path, str(error.strerror)) from None
  except (ValueError, RecursionError) as error:
    raise damaged(
      path, 'it is not UTF-8' if isinstance(error, UnicodeDecodeError) else str(error)
    ) from None
  if not isinstance(content, dict):
    raise damaged(path, 'it holds no object')
  return content


@contextlib.contextmanager
def expected_in(path: pathlib.Path) -> Iterator[None]:
  """A block that takes what it expects out of the content of a file.

  Raises:
    UserError: It is not there.
  """
  try:
    yield
  except (KeyError, TypeError, ValueError, AttributeError) as error:
    raise damaged(path, f'{type(error).__name__}: {error}') from None


def damaged(path: pathlib.Path, reason: str) -> UserError:
  """The sentence about a file of a run that cannot be used; `reason` is half a sentence."""
  again = (
    ', or delete it and run the training command again, which writes it anew'
    if path.name in _WRITTEN_AGAIN
    else ''
  )
  return UserError(f'{path} is damaged ({reason}); {remedy(path, again)}')


def remedy(path: pathlib.Path, again: str = '') -> str:
  """What mends a file of a run, as an end of a sentence.

  Args:
    path: The file.
    again: What does so as well, except in a model folder, which is made elsewhere and as a whole.
  """
  if (path.parent / WEIGHTS).is_file():
    return 'delete the model folder, then fetch or copy it again from where it came'
  return f'restore it from a copy{again}'
