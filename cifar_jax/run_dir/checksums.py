"""Checksums of what a checkpoint holds, so that damage is told from what was saved, and from a
checkpoint of something else.

Compression and TensorStore notice much of what can happen to a file, but a flipped bit in a
chunk of weights is a chunk of other weights. What is hashed is therefore the bytes of every array
as the host sees them, after they were read. The files have checksums too, looked at before Orbax
opens any of them: TensorStore reads in threads of its own, and where a file is damaged they print
tracebacks that nobody can catch.
"""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import replacing

_FILES = 'files.json'  # beside the files of a checkpoint
_ARRAYS, _FACTS = 'arrays', 'checksum'  # the keys of the record among a checkpoint's facts

# Path of an array in the state -> [dtype, shape, checksum], as JSON has it.
Record = dict[str, list[Any]]


class DamagedError(Exception):
  """A checkpoint does not hold what was saved; the message is half a sentence that says what."""


def record(state: Any) -> Record:
  """The dtype, shape and checksum of each array of a state, by path.

  Args:
    state: A tree of arrays, each of them whole on one of this process's devices or on the host.
  """
  return {path: [*_kind(leaf), _of_array(leaf)] for path, leaf in leaves(state).items()}


def sealed(facts: Mapping[str, Any], arrays: Record) -> dict[str, Any]:
  """Facts with the record of the arrays beside them and a checksum over all of it."""
  content = {**facts, _ARRAYS: arrays}
  return {**content, _FACTS: _of_json(content)}


def opened(content: Mapping[str, Any]) -> tuple[dict[str, Any], Record | None]:
  """The facts and the record of `sealed`; None for a record that older versions did not write.

  Raises:
    DamagedError: they are not those that were sealed.
  """
  facts = dict(content)
  checksum, arrays = facts.pop(_FACTS, None), facts.pop(_ARRAYS, None)
  if not content:
    raise DamagedError('its facts are empty')
  if checksum is None and arrays is None:
    return facts, None
  if arrays is None or checksum != _of_json({**facts, _ARRAYS: arrays}):
    raise DamagedError('its facts have another checksum than when they were saved')
  return facts, arrays


def check(state: Any, arrays: Record) -> None:
  """Raises DamagedError, naming arrays, where a state is not the recorded one."""
  found = record(state)
  wrong = sorted(
    path for path in found.keys() | arrays.keys() if found.get(path) != arrays.get(path)
  )
  if wrong:
    more = f' and {len(wrong) - 1} more' if len(wrong) > 1 else ''
    raise DamagedError(f'{wrong[0]}{more}: another checksum than when it was saved')


def leaves(state: Any) -> dict[str, Any]:
  """The leaves of a tree by path, such as 'params/Conv_0/kernel'."""
  return {name(path): leaf for path, leaf in jax.tree.leaves_with_path(state)}


def name(path: Any) -> str:
  """'params/Conv_0/kernel', of a path in a tree."""
  return jax.tree_util.keystr(path, simple=True, separator='/')


def differences(arrays: Record, target: Any) -> list[str]:
  """'params/Conv_0/kernel is (4, 3) there and (4, 4) here', for each array that differs in kind.

  Args:
    arrays: The arrays of the checkpoint; the checksums are not looked at.
    target: A tree of arrays or of their shapes.
  """
  saved = {path: (dtype, tuple(shape)) for path, (dtype, shape, _) in arrays.items()}
  wanted = {
    path: (dtype, tuple(shape))
    for path, leaf in leaves(target).items()
    for dtype, shape in [_kind(leaf)]
  }
  found = []
  for path in sorted(saved.keys() | wanted.keys()):
    there, here = saved.get(path), wanted.get(path)
    if there != here:
      same_shape = there is not None and here is not None and there[1] == here[1]
      words = [
        'missing' if kind is None else kind[0 if same_shape else 1] for kind in (there, here)
      ]
      found.append(f'{path} is {words[0]} there and {words[1]} here')
  return found


def check_same(saved: Record, target: Any, path: pathlib.Path) -> None:
  """Raises UserError, naming what differs, if a checkpoint is of another network or state."""
  found = differences(saved, target)
  network = [text for text in found if text.startswith('params/')]
  if network:
    texts = '; '.join(text.removeprefix('params/') for text in network[:3])
    raise UserError(
      f'checkpoint {path} is of another network: {texts}; use its own config, or choose another '
      '--workdir'
    )
  if found:
    raise UserError(
      f'checkpoint {path} is not damaged but of other options or of another version of this '
      f'program: {"; ".join(found[:3])}; use its own config and version, or choose another '
      '--workdir'
    )


def unchecked_record(metadata: Any) -> Record:
  """What Orbax says about the arrays of a checkpoint that was saved without checksums."""
  return {path: [str(leaf.dtype), list(leaf.shape), ''] for path, leaf in leaves(metadata).items()}


def seal_files(folder: pathlib.Path) -> None:
  """Writes the sizes and checksums of all files of a complete checkpoint beside them."""
  content = {
    path.relative_to(folder).as_posix(): [path.stat().st_size, _of_file(path)]
    for path in sorted(folder.rglob('*'))
    if path.is_file() and path.name != _FILES
  }
  with replacing(folder / _FILES) as draft:
    draft.write_text(json.dumps(content), 'utf-8')


def check_files(folder: pathlib.Path) -> None:
  """Raises DamagedError, naming a file, where one is missing or is not what was sealed.

  A checkpoint without a record, of an older version or of a process that was killed before it was
  written, passes.
  """
  try:
    content = json.loads((folder / _FILES).read_text('utf-8'))
    expected = {name: (int(size), str(checksum)) for name, (size, checksum) in content.items()}
  except FileNotFoundError:
    return
  except (OSError, ValueError, TypeError, AttributeError, RecursionError):
    raise DamagedError(f'{_FILES} cannot be read') from None
  for name, (size, checksum) in expected.items():
    path = folder / name
    if not path.is_file():
      raise DamagedError(f'{name} is missing')
    if path.stat().st_size != size or _of_file(path) != checksum:
      raise DamagedError(f'{name} is not what was saved')


def _kind(leaf: Any) -> tuple[str, list[int]]:
  return str(leaf.dtype), list(leaf.shape)


def _of_array(leaf: Any) -> str:
  flat = np.ascontiguousarray(leaf).reshape(-1)
  return hashlib.blake2b(flat.view(np.uint8).data, digest_size=16).hexdigest()


def _of_json(content: Mapping[str, Any]) -> str:
  # Once through JSON: a tuple is a list there, and a number may have lost its type.
  same = json.loads(json.dumps(content))
  return hashlib.blake2b(json.dumps(same, sort_keys=True).encode(), digest_size=16).hexdigest()


def _of_file(path: pathlib.Path) -> str:
  with path.open('rb') as file:
    return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
