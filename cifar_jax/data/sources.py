"""Finds a data set by its name: built in, image files, on this machine, or by way of TFDS."""

import os
import pathlib
from collections.abc import Callable

from ml_collections import ConfigDict

from cifar_jax.data import cifar_files, idx, image_folder, npz, synthetic, tfds
from cifar_jax.data.adapt import adapt
from cifar_jax.data.cache import through_cache
from cifar_jax.data.dataset import Dataset
from cifar_jax.data.named import NAMED
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.paths import existing_path
from cifar_jax.utils.suggestions import nearest

# The names that need no look at TFDS's own list; they are also what an error suggests.
KNOWN = (*NAMED, 'folder')

_ARRAYS = ('.npy', '.pt', '.pth', '.mat', '.h5', '.hdf5', '.pkl', '.csv', '.parquet')
_LONGEST_NAME = 100  # letters; those of TFDS have fewer
_NAMED = 5  # entries of a folder named in a message; the rest are counted


def load(data_config: ConfigDict) -> Dataset:
  """Loads the data set that a config names.

  `data_config.dir` says where its files are: an .npz file, an official archive, a folder with
  official, idx or prepared TFDS files, or the folder around one. Then nothing else is looked at,
  and nothing is downloaded. Without it these places are searched, in this order:
  $CIFAR_JAX_DATA, ./data, ~/.keras/datasets and the TFDS folder ($TFDS_DATA_DIR or
  ~/tensorflow_datasets); last of all, TFDS downloads the data set into its folder. Official files
  anywhere come before prepared TFDS data, because they keep the official order of the images and
  need no TensorFlow.

  Args:
    data_config: `name`, such as 'cifar10', 'cifar100', 'mnist', 'synthetic' or the name of any TFDS
      data set with labelled images of one size; with an .npz file any name; 'folder' for image
      files, read as `folder` says. `dir`, a path or ''. And `channels` and `pad_to`, see `adapt`.

  Raises:
    UserError: the name is unknown, the data are not found, they are damaged or cannot be adapted.
  """
  if data_config.name == 'folder':
    return image_folder.load(data_config)
  return adapt(_load(data_config.name, data_config.dir), data_config)


def _load(name: str, directory: str) -> Dataset:
  if not name.isprintable() or not 0 < len(name) <= _LONGEST_NAME:
    raise UserError(
      f'--config.data.name={name[:_LONGEST_NAME]!r} is no name; use one of {", ".join(KNOWN)}.'
    )
  if name == 'synthetic':
    return synthetic.load()
  if directory:
    places = [existing_path('data.dir', directory, f'set it to where {name} is.')]
  else:
    places = _usual_places()
  for find in (_find_files, _find_prepared):
    for place in places:
      if read := find(name, place):
        return read()
  if directory:
    raise UserError(_not_there(name, places[0]))
  _check_name(name)
  return _download(name, places)


def _usual_places() -> list[pathlib.Path]:
  """The folders in which data are looked for when the config names none."""
  own = os.environ.get('CIFAR_JAX_DATA')
  places = [pathlib.Path(own).expanduser()] if own else []
  keras = pathlib.Path(os.environ.get('KERAS_HOME') or '~/.keras').expanduser() / 'datasets'
  return [*places, pathlib.Path('data').absolute(), keras, tfds.default_folder()]


def _find_files(name: str, place: pathlib.Path) -> Callable[[], Dataset] | None:
  """What reads `name` from official, idx or .npz files in a place, or None."""
  # An .npz is as quick to read as the cache would be.
  if npz_path := npz.find(name, place):
    return lambda: npz.read(name, npz_path)
  if path := cifar_files.find(name, place):
    files = cifar_files.sources(name, path)
    return lambda: through_cache(name, path, files, lambda: cifar_files.read(name, path))
  if idx_path := idx.find(name, place):
    return lambda: idx.read(name, idx_path)
  return None


def _find_prepared(name: str, place: pathlib.Path) -> Callable[[], Dataset] | None:
  """What reads `name` from prepared TFDS data in a place, or None."""
  if path := tfds.find(name, place):
    files = tfds.sources(path)
    return lambda: through_cache(name, path, files, lambda: tfds.read(name, path))
  return None


def _not_there(name: str, path: pathlib.Path) -> str:
  """The sentence on a place that holds nothing of `name`: what it holds, and what is understood."""
  try:
    entries = sorted(path.iterdir()) if path.is_dir() else [path]
  except OSError:
    entries = []
  named = [entry.name for entry in entries[:_NAMED]]
  if len(entries) > _NAMED:
    named.append(f'{len(entries) - _NAMED} more')
  understood = [
    *cifar_files.expected(name),
    *idx.expected(name),
    f'{name}.npz, or any .npz that it names itself',
    'image folders by --config.data.name=folder',
  ]
  hint = ''
  if any(entry.name.startswith('emnist-') for entry in entries):
    hint = '; images of EMNIST are transposed: save each as image.T in an .npz, with its labels'
  elif any(entry.suffix in _ARRAYS for entry in entries):
    hint = '; save arrays by numpy.savez(file, x_train=..., y_train=..., x_test=..., y_test=...)'
  elif name not in KNOWN and (near := nearest(name, KNOWN)):
    hint = f'; did you mean --config.data.name={near}?'
  return (
    f'--config.data.dir={path} holds no {name}, but {", ".join(named) or "nothing"}; understood '
    f'are {", ".join(understood)} and prepared TFDS data{hint}'
  )


def _check_name(name: str) -> None:
  """Refuses a name that neither this module nor TFDS knows, and suggests the nearest one."""
  if name in KNOWN:
    return
  names = [*KNOWN, *tfds.names()]
  if name in names:
    return
  # 'svhn' is nearer to svhn_cropped than to any other name, short as it is beside it.
  longer = sorted(known for known in names if len(name) > 2 and known.startswith(name.lower()))
  near = longer[0] if longer else nearest(name, names)
  suggestion = f'did you mean {near}?' if near else f'use one of {", ".join(KNOWN)}.'
  raise UserError(f'--config.data.name={name} is unknown; {suggestion}')


def _download(name: str, places: list[pathlib.Path]) -> Dataset:
  try:
    dataset = tfds.download(name)
  except UserError as error:
    looked = ', '.join(str(place) for place in places)
    raise UserError(
      f'Data set {name} is not in {looked}, and its download failed: {str(error).rstrip(".")}; put '
      f'its official files into a folder and set --config.data.dir to it, or try '
      '--config.data.name=synthetic, which needs no files.'
    ) from error
  # Fill the cache now, from the arrays at hand.
  if path := tfds.find(name, tfds.default_folder()):
    return through_cache(name, path, tfds.sources(path), lambda: dataset)
  return dataset
