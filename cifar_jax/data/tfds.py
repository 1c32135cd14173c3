"""Data sets by their TFDS name: read where they are prepared, downloaded on first use.

TensorFlow is imported inside the functions only, and never sees a GPU: it would take the memory
that JAX needs.
"""

import contextlib
import importlib
import os
import pathlib
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterable
from typing import Any

import numpy as np

from cifar_jax.data.dataset import Dataset, Split, make_split
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.paths import user_path

_CONNECT_SECONDS = 5


def default_folder() -> pathlib.Path:
  """Where TFDS keeps what it prepares: $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
  return user_path(os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets')


def find(name: str, path: pathlib.Path) -> pathlib.Path | None:
  """Finds prepared data below the TFDS folder `path`, or in `path` itself.

  Returns:
    The folder of the newest version, as `path/cifar10/3.0.2`; None where none is prepared.
  """
  versions = sorted(
    (info.parent for info in (path / name).glob('*/dataset_info.json')),
    key=lambda folder: [int(part) for part in folder.name.split('.') if part.isdecimal()],
  )
  if versions:
    return versions[-1]
  if path.parent.name == name and (path / 'dataset_info.json').is_file():
    return path
  return None


def sources(path: pathlib.Path) -> list[pathlib.Path]:
  """The files on which the content of what `find` found depends."""
  return sorted(file for file in path.iterdir() if file.is_file())


def read(name: str, path: pathlib.Path) -> Dataset:
  """Reads what `find` found.

  Raises:
    UserError: the data are damaged or no images with labels.
  """
  tfds = _import('tensorflow_datasets')
  with _as_user_error(f'{path} cannot be read by TFDS'):
    builder = tfds.builder_from_directory(str(path))
  return _read(name, builder, str(path))


def download(name: str) -> Dataset:
  """Downloads and prepares a data set in `default_folder()`, with TFDS's own progress bars.

  Raises:
    UserError: there is no network, the download fails, or the data are no images with labels.
  """
  tfds = _import('tensorflow_datasets')
  folder = default_folder()
  with _as_user_error('TFDS cannot prepare it'):
    builder = tfds.builder(name, data_dir=str(folder))
    _check_features(name, builder)
    if not builder.is_prepared():
      _check_network(builder.url_infos)
      _hide_gpus()
      builder.download_and_prepare()
  return _read(name, builder, str(builder.data_dir))


def names() -> list[str]:
  """Every name that TFDS knows."""
  return list(_import('tensorflow_datasets').list_builders(with_community_datasets=False))


def _import(module: str) -> Any:
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')  # Errors only: the rest is not for our users.
  try:
    return importlib.import_module(module)
  except ImportError as error:
    raise UserError(
      f'Reading TFDS data needs tensorflow and tensorflow-datasets ({error}); install them with '
      'pip, or set --config.data.dir to official files.'
    ) from None


def _hide_gpus() -> None:
  # A RuntimeError says that TensorFlow has already started, GPUs and all: too late to hide any.
  with contextlib.suppress(RuntimeError):
    _import('tensorflow').config.set_visible_devices([], 'GPU')


@contextlib.contextmanager
def _as_user_error(what: str) -> Any:
  """Turns whatever TFDS, TensorFlow or the network raises into one sentence."""
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    reason = ' '.join(str(error).split())[:200]
    raise UserError(f'{what} ({type(error).__name__}: {reason}).') from error


def _check_network(urls: Iterable[str]) -> None:
  """Tries to reach the first host: TFDS itself would retry for minutes before it gives up."""
  parts = next((urllib.parse.urlsplit(url) for url in urls), None)
  if parts is None or not parts.hostname or urllib.request.getproxies():
    return
  port = parts.port or (80 if parts.scheme == 'http' else 443)
  try:
    socket.create_connection((parts.hostname, port), timeout=_CONNECT_SECONDS).close()
  except OSError as error:
    raise UserError(f'{parts.hostname} cannot be reached ({error}).') from None


def _check_features(name: str, builder: Any) -> None:
  features = dict(builder.info.features or {})
  image, label = features.get('image'), features.get('label')
  shape = getattr(image, 'shape', None) or (None,)
  if None in shape or len(shape) != 3 or not getattr(label, 'num_classes', None):
    raise UserError(
      f'--config.data.name={name}: this TFDS data set has no uint8 images of one size with one '
      'label each, which is what can be trained on here.'
    )


def _read(name: str, builder: Any, where: str) -> Dataset:
  _hide_gpus()
  _check_features(name, builder)
  classes = tuple(builder.info.features['label'].names)

  def part(key: str) -> Split:
    # One batch of everything, in the order of the files.
    arrays: Any = builder.as_dataset(split=key, batch_size=-1)
    images, labels = (np.asarray(arrays[field]) for field in ('image', 'label'))
    return make_split(images, labels, len(classes), f'{where}, split {key},')

  with _as_user_error(f'{where} cannot be read by TFDS'):
    return Dataset(name, part('train'), part('test'), classes, source=where)
