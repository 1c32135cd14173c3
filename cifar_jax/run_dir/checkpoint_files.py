"""Checksums of a checkpoint's files, looked at before Orbax opens any of them.

TensorStore reads in threads of its own, and where a file is damaged they print tracebacks that
nobody can catch. What is known to be damaged is therefore never opened. Whether the arrays are
those that were saved, `checksums` says; this tells what happened to the files after that.
"""

import hashlib
import json
import pathlib

from cifar_jax.run_dir.checksums import DamagedError
from cifar_jax.utils.files import replacing

_NAME = 'files.json'


def seal(folder: pathlib.Path) -> None:
  """Writes the sizes and checksums of all files of a complete checkpoint beside them."""
  content = {
    str(path.relative_to(folder)): [path.stat().st_size, _checksum(path)]
    for path in sorted(folder.rglob('*'))
    if path.is_file() and path.name != _NAME
  }
  with replacing(folder / _NAME) as draft:
    draft.write_text(json.dumps(content))


def check(folder: pathlib.Path) -> None:
  """Raises DamagedError, naming a file, where one is missing or is not what was sealed.

  A checkpoint without a record, of an older version or of a process that was killed before it was
  written, passes.
  """
  try:
    content = json.loads((folder / _NAME).read_text())
    expected = {name: (int(size), str(checksum)) for name, (size, checksum) in content.items()}
  except FileNotFoundError:
    return
  except (OSError, ValueError, TypeError, AttributeError, RecursionError):
    raise DamagedError(f'{_NAME} cannot be read') from None
  for name, (size, checksum) in expected.items():
    path = folder / name
    if not path.is_file():
      raise DamagedError(f'{name} is missing')
    if path.stat().st_size != size or _checksum(path) != checksum:
      raise DamagedError(f'{name} is not what was saved')


def _checksum(path: pathlib.Path) -> str:
  with path.open('rb') as file:
    return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
