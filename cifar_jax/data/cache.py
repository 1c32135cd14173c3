"""Parsed data sets as plain .npy files, which later starts map into memory at once.

The cache is a convenience: whatever is wrong with it, the source is read instead. One folder a
source holds the four arrays and `meta.json`; the folder is rebuilt when a file of the source has
another size or time.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cifar_jax.data.dataset import Dataset, Split, make_split
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.paths import cache_folder

_FORMAT = 2  # Raise it whenever a reader changes what it returns for the same files.
_ARRAYS = ('train_images', 'train_labels', 'test_images', 'test_labels')


def through_cache(
  name: str, path: pathlib.Path, files: Sequence[pathlib.Path], read: Callable[[], Dataset]
) -> Dataset:
  """Returns the data set from the cache, or reads it and fills the cache.

  Args:
    name: name of the data set.
    path: where it is: with the name, what tells one entry of the cache from another.
    files: all files that decide its content.
    read: reads it from its source.

  Returns:
    The data set; from the cache its arrays are mapped read-only from disk.

  Raises:
    UserError: what `read` raises, or $CIFAR_JAX_CACHE can be no path. Nothing else that is wrong
      with the cache raises anything.
  """
  digest = hashlib.sha256(f'{name}\0{path.resolve()}'.encode()).hexdigest()[:16]
  entry = cache_folder() / f'{name}-{digest}'
  try:
    key = _key(files)
  except OSError:  # A file is gone or not to be looked at: the reader says so better.
    return read()
  dataset = _load(entry, key, path)
  if dataset is None:
    dataset = read()
    with contextlib.suppress(OSError):  # No room or no permission: no cache.
      _store(entry, key, path, dataset)
  return dataset


def _key(files: Sequence[pathlib.Path]) -> list[list[Any]]:
  """The files as they are now: path, bytes, nanoseconds of the last change."""
  status = [(file, file.stat()) for file in files]
  return [[str(file.resolve()), stat.st_size, stat.st_mtime_ns] for file, stat in status]


def _load(entry: pathlib.Path, key: list[list[Any]], path: pathlib.Path) -> Dataset | None:
  """Reads an entry; None where there is none, or one of other files, or a damaged one."""
  try:
    meta = json.loads((entry / 'meta.json').read_text('utf-8'))
    if (meta['format'], meta['files'], meta['source']) != (_FORMAT, key, str(path.resolve())):
      return None
    arrays = []
    for array_name in _ARRAYS:
      array = np.load(entry / f'{array_name}.npy', mmap_mode='r', allow_pickle=False)
      if list(array.shape) != meta['shapes'][array_name]:
        return None
      arrays.append(array.view(np.ndarray))
    classes = tuple(str(label) for label in meta['class_names'])
    train, test = (
      make_split(images, labels, len(classes), str(entry))
      for images, labels in zip(arrays[::2], arrays[1::2], strict=True)
    )
    notes = tuple(str(note) for note in meta['notes'])
    return Dataset(str(meta['name']), train, test, classes, source=str(path), notes=notes)
  except (OSError, ValueError, KeyError, TypeError, EOFError, UserError):
    return None


def _store(entry: pathlib.Path, key: list[list[Any]], path: pathlib.Path, dataset: Dataset) -> None:
  """Writes an entry beside its final place and then renames it, so that none is half written."""
  entry.parent.mkdir(parents=True, exist_ok=True)
  draft = pathlib.Path(tempfile.mkdtemp(prefix=f'{entry.name}.', dir=entry.parent))
  try:
    splits: tuple[Split, Split] = (dataset.train, dataset.test)
    arrays = [array for part in splits for array in (part.images, part.labels)]
    for array_name, array in zip(_ARRAYS, arrays, strict=True):
      np.save(draft / f'{array_name}.npy', array)
    meta = {
      'format': _FORMAT,
      'name': dataset.name,
      'source': str(path.resolve()),
      'class_names': dataset.class_names,
      'notes': dataset.notes,
      'shapes': {k: list(v.shape) for k, v in zip(_ARRAYS, arrays, strict=True)},
      'files': key,
    }
    (draft / 'meta.json').write_text(json.dumps(meta), 'utf-8')
    shutil.rmtree(entry, ignore_errors=True)
    os.replace(draft, entry)
  finally:
    shutil.rmtree(draft, ignore_errors=True)
