"""Parsed data sets as plain .npy files, which later starts map into memory at once.

The cache is a convenience: whatever is wrong with it, the source is read instead. One folder per
source holds the four arrays and `meta.json`; the folder is rebuilt when a file of the source has
another size or time.
"""

import contextlib
import functools
import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from cifar_jax.data.dataset import Dataset, Split, make_split
from cifar_jax.utils.cache import CacheEntry
from cifar_jax.utils.paths import cache_folder

_FORMAT = 2  # Raise it whenever a reader changes what it returns for the same files.
_ARRAYS = ('train_images', 'train_labels', 'test_images', 'test_labels')


def through_cache(
  name: str, path: pathlib.Path, files: Sequence[pathlib.Path], read: Callable[[], Dataset]
) -> Dataset:
  """Returns the data set from the cache, or reads it and fills the cache.

  Args:
    name: The name of the data set.
    path: Where it is; with the name, this tells one entry of the cache from another.
    files: All files that decide its content.
    read: Reads it from its source.

  Returns:
    The data set; from the cache its arrays are mapped read-only from disk.

  Raises:
    UserError: what `read` raises, or $CIFAR_JAX_CACHE can be no path. Nothing else that is wrong
      with the cache raises anything.
  """
  digest = hashlib.sha256(f'{name}\0{path.resolve()}'.encode()).hexdigest()[:16]
  try:
    made_of = {'format': _FORMAT, 'source': str(path.resolve()), 'files': _state(files)}
  except OSError:  # A file is gone or not to be looked at: the reader says so better.
    return read()
  entry = CacheEntry(
    cache_folder() / f'{name}-{digest}', functools.partial(_read, made_of=made_of, source=str(path))
  )
  dataset = entry.load()
  if dataset is None:
    dataset = read()
    with contextlib.suppress(OSError):  # No room or no permission: no cache.
      entry.store(functools.partial(_write, made_of=made_of, dataset=dataset))
  return dataset


def _state(files: Sequence[pathlib.Path]) -> list[list[Any]]:
  """The files as they are now: path, bytes, nanoseconds of the last change."""
  status = [(file, file.stat()) for file in files]
  return [[str(file.resolve()), stat.st_size, stat.st_mtime_ns] for file, stat in status]


def _read(entry: pathlib.Path, made_of: Mapping[str, Any], source: str) -> Dataset:
  """Reads an entry; raises an error as `CacheEntry` wants it where it is of other files."""
  meta = json.loads((entry / 'meta.json').read_text('utf-8'))
  if any(meta[name] != value for name, value in made_of.items()):
    raise ValueError('made of other files')
  arrays = []
  for array_name in _ARRAYS:
    array = np.load(entry / f'{array_name}.npy', mmap_mode='r', allow_pickle=False)
    if list(array.shape) != meta['shapes'][array_name]:
      raise ValueError(f'{array_name} has another shape')
    arrays.append(array.view(np.ndarray))
  classes = tuple(str(label) for label in meta['class_names'])
  train, test = (
    make_split(images, labels, len(classes), str(entry))
    for images, labels in zip(arrays[::2], arrays[1::2], strict=True)
  )
  notes = tuple(str(note) for note in meta['notes'])
  return Dataset(str(meta['name']), train, test, classes, source=source, notes=notes)


def _write(entry: pathlib.Path, made_of: Mapping[str, Any], dataset: Dataset) -> None:
  entry.mkdir()
  splits: tuple[Split, Split] = (dataset.train, dataset.test)
  arrays = [array for part in splits for array in (part.images, part.labels)]
  for array_name, array in zip(_ARRAYS, arrays, strict=True):
    np.save(entry / f'{array_name}.npy', array)
  meta = {
    **made_of,
    'name': dataset.name,
    'class_names': dataset.class_names,
    'notes': dataset.notes,
    'shapes': {k: list(v.shape) for k, v in zip(_ARRAYS, arrays, strict=True)},
  }
  (entry / 'meta.json').write_text(json.dumps(meta), 'utf-8')
