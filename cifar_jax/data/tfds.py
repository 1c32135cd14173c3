"""Data sets by their TFDS name: read where they are prepared, downloaded on first use.

TFDS prepares images, and reads its usual files, by TensorFlow, which is no part of the core
(`pip install -e '.[tfds]'`); what was prepared as array_record files it reads without. TensorFlow
is imported inside the functions only, and never sees a GPU, whose memory JAX needs.
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

from cifar_jax.data import fetch
from cifar_jax.data.dataset import Dataset, Split, make_split
from cifar_jax.utils.errors import UserError, as_user_error
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
    UserError: the data are damaged, no images with labels, or in files that need TensorFlow.
  """
  tfds = _tfds()
  with as_user_error(f'{path} cannot be read by TFDS', '.'):
    builder = tfds.builder_from_directory(str(path))
  return _read(name, builder, str(path))


def download(name: str) -> Dataset:
  """Downloads and prepares a data set in `default_folder()`, with TFDS's own progress bars.

  Raises:
    UserError: there is no TensorFlow or no network, the download fails, or the data are no images
      with labels.
  """
  tfds = _tfds()
  folder = default_folder()
  with as_user_error('TFDS cannot prepare it', '.'):
    builder = tfds.builder(name, data_dir=str(folder))
    _check_features(name, builder)
    if not builder.is_prepared():
      _start_tensorflow(name, f'preparing the TFDS data set {name}')
      _check_network(builder.url_infos)
      builder.download_and_prepare()
  return _read(name, builder, str(builder.data_dir))


def names() -> list[str]:
  """Every name that TFDS knows."""
  return list(_tfds().list_builders(with_community_datasets=False))


def _tfds() -> Any:
  try:
    return importlib.import_module('tensorflow_datasets')
  except ImportError as error:
    raise UserError(
      f'TFDS cannot be imported ({error}); install it with pip, or set --config.data.dir to '
      'official files.'
    ) from None


def _start_tensorflow(name: str, what: str) -> None:
  """Imports TensorFlow without GPUs.

  Raises:
    UserError: that cannot be done; `what` is said to need it.
  """
  os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')  # Errors only: the rest is not for our users.
  try:
    tensorflow = importlib.import_module('tensorflow')
  except ImportError as error:
    other = f', or python -m cifar_jax data fetch {name}' if name in fetch.NAMES else ''
    raise UserError(f"{what} needs TensorFlow ({error}): pip install -e '.[tfds]'{other}") from None
  # A RuntimeError says that TensorFlow has already started, GPUs and all: too late to hide any.
  with contextlib.suppress(RuntimeError):
    tensorflow.config.set_visible_devices([], 'GPU')


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
  _check_features(name, builder)
  classes = tuple(builder.info.features['label'].names)
  kind = builder.info.file_format.value
  if kind != 'array_record':
    _start_tensorflow(name, f'reading the {kind} files in {where}, which TFDS prepared,')

  def part(key: str) -> Split:
    # Everything at once, in the order of the files.
    arrays: Any
    if kind == 'array_record':
      rows = list(builder.as_data_source(split=key))
      arrays = {field: [row[field] for row in rows] for field in ('image', 'label')}
    else:
      arrays = builder.as_dataset(split=key, batch_size=-1)
    images, labels = (np.asarray(arrays[field]) for field in ('image', 'label'))
    return make_split(images, labels, len(classes), f'{where}, split {key},')

  with as_user_error(f'{where} cannot be read by TFDS', '.'):
    return Dataset(name, part('train'), part('test'), classes, source=where)
