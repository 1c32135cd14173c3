"""Finds a data set by its name: built in, image files, on this machine, or by way of TFDS."""

import dataclasses
import itertools
import os
import pathlib
import types
from collections.abc import Callable

import numpy as np
from ml_collections import ConfigDict

from cifar_jax.data import (
  cifar_files,
  digits,
  fetch,
  idx,
  image_folder,
  npz,
  stl10,
  svhn,
  synthetic,
  tfds,
)
from cifar_jax.data.cache import through_cache
from cifar_jax.data.dataset import Dataset, Split
from cifar_jax.data.expected import KNOWN_DATASETS
from cifar_jax.data.preprocessing import FILE_SOURCES, of_arrays
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.paths import existing_path, keras_folder, user_path
from cifar_jax.utils.suggestions import nearest

# The names that need no look at TFDS's own list; they are also what an error suggests.
KNOWN_NAMES = (*KNOWN_DATASETS, *FILE_SOURCES)

_ARRAYS = ('.npy', '.pt', '.pth', '.mat', '.h5', '.hdf5', '.pkl', '.csv', '.parquet')
# Readers of official files.
_OFFICIAL = (cifar_files, idx, digits, svhn, stl10)
_LONGEST_NAME = 100  # letters; those of TFDS have fewer
_NAMED = 5  # entries of a folder named in a message; the rest are counted


def load(data_config: ConfigDict) -> Dataset:
  """Loads the data set that a config names.

  `data_config.dir` says where its files are: an .npz file, an official archive, a folder with
  official, idx or prepared TFDS files, or the folder around one. Then nothing else is looked at,
  and nothing is downloaded. Without it these locations are searched, in this order:
  $CIFAR_JAX_DATA, ./data, ~/.keras/datasets, the TFDS folder ($TFDS_DATA_DIR or
  ~/tensorflow_datasets) and `fetch.default_folder()`; last of all the data set is downloaded, into
  that last folder where `fetch` knows it, else by TFDS into its own. Official files anywhere come
  before prepared TFDS data, because they keep the official order of the images and need no
  TensorFlow.

  Args:
    data_config: The section `data` of a config. Its `name` is 'cifar10', 'cifar100', 'mnist',
      'synthetic' or the like, or that of any TFDS data set with labeled images of one size; with an
      .npz file it is any name; 'folder' stands for image files in folders, 'csv' for those that a
      table names, both read as the section `folder` says.
      `dir` is a path or ''. For `channels` and `pad_to` see `convert_channels_and_pad`.

  Raises:
    UserError: the name is unknown, the data are not found, damaged, or cannot be made to fit.
  """
  if data_config.name in FILE_SOURCES:
    dataset = image_folder.load(data_config)
  else:
    dataset = convert_channels_and_pad(_load(data_config.name, data_config.dir), data_config)
  return with_several_labels(dataset) if data_config.get('multi_label') else dataset


def with_several_labels(dataset: Dataset) -> Dataset:
  """The data set with labels uint8 `[N, classes]`, as where an image may have several."""

  def change(split: Split) -> Split:
    if split.labels.ndim == 2:
      return split
    rows = np.eye(len(dataset.class_names), dtype=np.uint8)
    return dataclasses.replace(split, labels=rows[split.labels])

  return dataclasses.replace(
    dataset,
    train=change(dataset.train),
    test=change(dataset.test),
    validation=None if dataset.validation is None else change(dataset.validation),
  )


def locate(name: str) -> pathlib.Path | None:
  """Returns where `load` finds a data set if the config names no folder; None if nowhere yet."""
  for find in (_find_files, _find_prepared):
    for location in usual_locations():
      if find(name, location):
        return location
  return None


def convert_channels_and_pad(dataset: Dataset, data_config: ConfigDict) -> Dataset:
  """Makes the images of a data set of arrays fit a network.

  Args:
    dataset: The data set as its source delivers it.
    data_config: The section `data` of a config. Its `channels` 1 makes colors gray, 3 repeats gray,
      and 0 leaves the images as they are; `pad_to` is the side in pixels of the square in whose
      middle each image is put, 0 for none.

  Returns:
    The data set, which knows its preprocessing.

  Raises:
    UserError: the images have another number of channels, or are larger than the square.
  """
  preprocessing = of_arrays(data_config, dataset.train.images.shape[1:])

  def change(split: Split) -> Split:
    return Split(preprocessing.finish(split.images), split.labels, groups=split.groups)

  return dataclasses.replace(
    dataset,
    train=change(dataset.train),
    test=change(dataset.test),
    validation=None if dataset.validation is None else change(dataset.validation),
    preprocessing=preprocessing,
  )


def _load(name: str, directory: str) -> Dataset:
  if not name.isprintable() or not 0 < len(name) <= _LONGEST_NAME:
    raise UserError(
      f'--config.data.name={name[:_LONGEST_NAME]!r} is no name; use one of '
      f'{", ".join(KNOWN_NAMES)}.'
    )
  from cifar_jax.data import test_sets  # which looks where this module does

  if name in test_sets.NAMES:
    raise UserError(
      f'--config.data.name={name} is a test set, on which nothing is trained; '
      f'python -m cifar_jax evaluate RUN --data.name={name} measures a trained run on it'
    )
  if name == 'synthetic':
    return synthetic.load()
  if name == digits.NAME and not directory:
    return digits.installed(name)
  if directory:
    locations = [existing_path('data.dir', directory, f'set --config.data.dir to where {name} is')]
  else:
    locations = usual_locations()
  for find in (_find_files, _find_prepared):
    for location in locations:
      if read := find(name, location):
        return read()
  if directory:
    raise UserError(_not_there(name, locations[0]))
  _check_name(name)
  return _download(name, locations)


def usual_locations() -> list[pathlib.Path]:
  """The folders in which data are looked for when the config names none."""
  own = os.environ.get('CIFAR_JAX_DATA')
  locations = [user_path(own)] if own else []
  return [
    *locations,
    pathlib.Path('data').absolute(),
    keras_folder() / 'datasets',
    tfds.default_folder(),
    fetch.default_folder(),
  ]


def _find_files(name: str, location: pathlib.Path) -> Callable[[], Dataset] | None:
  """What reads `name` from official, idx or .npz files in a location, or None."""
  # An .npz is as quick to read as the cache would be.
  if npz_path := npz.find(name, location):
    return lambda: npz.read(name, npz_path)
  if path := cifar_files.find(name, location):
    files = cifar_files.sources(name, path)
    return lambda: through_cache(name, path, files, lambda: cifar_files.read(name, path))
  if idx_path := idx.find(name, location):
    return lambda: idx.read(name, idx_path)
  if digits_path := digits.find(name, location):
    return lambda: digits.read(name, digits_path)
  for source in (svhn, stl10):
    if folder := source.find(name, location):
      return _through_cache(source, name, folder)
  return None


def _through_cache(
  source: types.ModuleType, name: str, folder: pathlib.Path
) -> Callable[[], Dataset]:
  files = source.sources(name, folder)
  return lambda: through_cache(name, folder, files, lambda: source.read(name, folder))


def _find_prepared(name: str, location: pathlib.Path) -> Callable[[], Dataset] | None:
  """What reads `name` from prepared TFDS data in a location, or None."""
  if path := tfds.find(name, location):
    files = tfds.sources(path)
    return lambda: through_cache(name, path, files, lambda: tfds.read(name, path))
  return None


def _not_there(name: str, path: pathlib.Path) -> str:
  """The sentence on a location without `name`: what it holds, and what is understood."""
  try:
    entries = sorted(path.iterdir()) if path.is_dir() else [path]
  except OSError:
    entries = []
  named = [entry.name for entry in entries[:_NAMED]]
  if len(entries) > _NAMED:
    named.append(f'{len(entries) - _NAMED} more')
  understood = [
    *itertools.chain(*(source.expected(name) for source in _OFFICIAL)),
    f'{name}.npz, or any .npz that it names itself',
    'image folders by --config.data.name=folder, a CSV file of file and label by '
    '--config.data.name=csv',
  ]
  hint = ''
  there = [known for known in KNOWN_DATASETS if path.is_dir() and _find_files(known, path)]
  if there:
    hint = f'; did you mean --config.data.name={there[0]}?'
  elif any(entry.suffix in _ARRAYS for entry in entries):
    hint = '; save arrays by numpy.savez(file, x_train=..., y_train=..., x_test=..., y_test=...)'
  elif name not in KNOWN_NAMES and (near := nearest(name, KNOWN_NAMES)):
    hint = f'; did you mean --config.data.name={near}?'
  elif name in fetch.NAMES and path.is_dir():
    hint = f'; python -m cifar_jax data fetch {name} --dir={path} downloads it'
  return (
    f'--config.data.dir={path} holds no {name}, but {", ".join(named) or "nothing"}; understood '
    f'are {", ".join(understood)} and prepared TFDS data{hint}'
  )


def _check_name(name: str) -> None:
  """Refuses a name that neither this module nor TFDS knows, and suggests the nearest one."""
  if name in KNOWN_NAMES:
    return
  names = [*KNOWN_NAMES, *tfds.names()]
  if name in names:
    return
  # 'svhn' is nearer to svhn_cropped than to any other name, short as it is beside it.
  longer = sorted(known for known in names if len(name) > 2 and known.startswith(name.lower()))
  near = longer[0] if longer else nearest(name, names)
  suggestion = f'did you mean {near}?' if near else f'use one of {", ".join(KNOWN_NAMES)}.'
  raise UserError(f'--config.data.name={name} is unknown; {suggestion}')


def _download(name: str, locations: list[pathlib.Path]) -> Dataset:
  try:
    if name in fetch.NAMES:
      fetch.fetch(name)
    elif name in KNOWN_DATASETS and name not in tfds.names():
      files = ', '.join(itertools.chain(*(source.expected(name) for source in _OFFICIAL)))
      raise UserError(f'nothing here downloads it; get {files} from its authors')
    else:
      dataset = tfds.download(name)
  except UserError as error:
    looked = ', '.join(str(location) for location in locations)
    raise UserError(
      f'{name} is not on this machine: {str(error).rstrip(".")}; or set --config.data.dir to where '
      'it is, or try --config.data.name=synthetic',
      (*error.details, f'looked for in {looked}'),
    ) from error
  if read := _find_files(name, fetch.default_folder()):
    return read()
  # Fill the cache now, from the arrays at hand.
  if path := tfds.find(name, tfds.default_folder()):
    return through_cache(name, path, tfds.sources(path), lambda: dataset)
  return dataset
