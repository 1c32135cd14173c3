"""Reads what Keras saves: .h5 of whole models or of weights (Keras 1 to 3), .weights.h5 and .keras.

Nothing in a file is run, and what it says of its sizes is checked before memory is taken for it.
"""

import dataclasses
import io
import json
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from cifar_jax.utils.errors import UserError
from cifar_jax.utils.optional_deps import require

# Names of Keras 1, as in the files that keras.applications downloads. What is called the standard
# deviation there is the variance.
_OLD_KINDS = {
  'W': 'kernel',
  'b': 'bias',
  'running_mean': 'moving_mean',
  'running_std': 'moving_variance',
}
_MOST = 2**32  # bytes of all arrays together, unless the caller says less
_MOST_TEXT = 2**26  # bytes of a description or a list of names
_CONTAINERS = ('layers', '_layer_checkpoint_dependencies')  # where .keras keeps layers; the older


@dataclasses.dataclass(frozen=True)
class Saved:
  """A file of Keras's.

  Attributes:
    arrays: Of each layer its arrays by name, 'kernel', 'bias' and so on, or '0', '1', ... in the
      order of its variables where the file does not name them.
    config: The description of the model, None in a file of weights alone.
    version: Of the Keras that wrote it, such as '2.1.5'; '' where it does not say.
    backend: Of that Keras, such as 'theano'; '' where it does not say.
    by_class: Whether `arrays` counts the layers of each class, as in 'conv2d', 'conv2d_1'; else it
      has the names that the layers have in the model, in its order.
    names: Those names where it counts; of older releases {}.
  """

  arrays: Mapping[str, Mapping[str, np.ndarray]]
  config: Mapping[str, Any] | None = None
  version: str = ''
  backend: str = ''
  by_class: bool = False
  names: Mapping[str, str] = dataclasses.field(default_factory=dict)


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
  """The arrays of a file that names them, as 'layer/kernel', 'layer/bias' and so on.

  Raises:
    UserError: as `load`.
  """
  arrays = load(path).arrays
  return {f'{layer}/{name}': array for layer in arrays for name, array in arrays[layer].items()}


def load(path: pathlib.Path, most_bytes: int = _MOST) -> Saved:
  """Reads a file; optimizers in it are left out.

  Args:
    most_bytes: How large all arrays together may be.

  Raises:
    UserError: h5py is missing, the file cannot be read, or is none of Keras's.
  """
  (h5py,) = require('transfer', 'h5py')
  try:
    if zipfile.is_zipfile(path):
      return _archive(h5py, path, most_bytes)
    with h5py.File(path, 'r') as file:
      return _h5(_Reader(h5py, most_bytes), file)
  except UserError:
    raise
  except OSError as error:
    raise UserError(f'{path} cannot be read as HDF5 ({_line(error)})') from None
  except Exception as error:  # h5py raises almost anything on damaged files
    raise UserError(f"{path} is no file of Keras's weights, or damaged ({_line(error)})") from None


def _line(error: Exception) -> str:
  return ' '.join(str(error).split())[:200] or type(error).__name__


def _archive(h5py: Any, path: pathlib.Path, most_bytes: int) -> Saved:
  """A .keras: a description and weights in one .zip."""
  with zipfile.ZipFile(path) as archive:

    def content(name: str, most: int) -> bytes:
      with archive.open(name) as file:
        found = file.read(most + 1)  # whatever the archive says of its size
      if len(found) > most:
        raise ValueError(f'{name} has more than {most:,} bytes, which is too much for its network')
      return found

    config = json.loads(content('config.json', _MOST_TEXT))
    metadata = json.loads(content('metadata.json', _MOST_TEXT))
    # Beside the weights are the optimizer's copies of them, and some bytes for each layer.
    weights = io.BytesIO(content('model.weights.h5', 4 * most_bytes + _MOST_TEXT))
  if not isinstance(config, dict) or not isinstance(metadata, dict):
    raise ValueError('its description is none')
  with h5py.File(weights, 'r') as file:
    saved = _h5(_Reader(h5py, most_bytes), file)
  version = str(metadata.get('keras_version', ''))
  return dataclasses.replace(saved, config=config, version=version)


def _h5(reader: '_Reader', file: Any) -> Saved:
  root = reader.child(file, 'model_weights') if 'model_weights' in file else file
  if reader.has_texts(root, 'layer_names'):
    return _named(reader, file, root)
  for name in _CONTAINERS:
    if name in file:
      return _positional(reader, reader.child(file, name))
  raise ValueError('it has neither layer_names nor layers')


def _named(reader: '_Reader', file: Any, root: Any) -> Saved:
  """The form of Keras 1 and 2, which Keras 3 still writes as .h5."""
  arrays = {}
  for layer in reader.texts(root, 'layer_names'):
    group = reader.child(root, layer)
    arrays[layer] = {
      _kind(layer, name): reader.array(reader.child(group, name))
      for name in reader.texts(group, 'weight_names')
    }
  config = reader.text(file, 'model_config')
  described = json.loads(config) if config else None
  if described is not None and not isinstance(described, dict):
    raise ValueError('its description is none')
  version, backend = (reader.text(root, key) for key in ('keras_version', 'backend'))
  return Saved(arrays, described, version, backend)


def _positional(reader: '_Reader', layers: Any) -> Saved:
  """The form of Keras 3, whose later releases say the name that the layer has in the model."""
  arrays, names = {}, {}
  for key in layers:
    group = reader.child(layers, key)
    if not reader.is_group(group) or 'vars' not in group:
      continue
    variables = reader.child(group, 'vars')
    arrays[key] = {
      name: reader.array(reader.child(variables, name)) for name in sorted(variables, key=int)
    }
    if name := reader.text(variables, 'name'):
      names[key] = name
  return Saved(arrays, by_class=True, names=names)


class _Reader:
  """Takes from an HDF5 file what lies in it, within limits."""

  def __init__(self, h5py: Any, most_bytes: int):
    self._h5py = h5py
    self._left = self._most = most_bytes

  def is_group(self, node: Any) -> bool:
    return isinstance(node, self._h5py.Group)

  def child(self, group: Any, name: str) -> Any:
    """What a name stands for, unless a link on the way leads out of the file."""
    for part in name.strip('/').split('/'):
      if not self.is_group(group):
        raise ValueError(f'{name} is not there')
      if not isinstance(group.get(part, getlink=True), self._h5py.HardLink):
        raise ValueError(f'{name} is a link')
      group = group[part]
    return group

  def array(self, dataset: Any) -> np.ndarray:
    """The values, whose size counts."""
    if not isinstance(dataset, self._h5py.Dataset):
      raise ValueError(f'{dataset.name} is no array')
    if dataset.external or dataset.is_virtual:
      raise ValueError(f'{dataset.name} lies in another file')
    if dataset.dtype.kind not in 'fiu':
      raise ValueError(f'{dataset.name} holds no numbers')
    # Compressed, any size may be behind few bytes; Keras compresses nothing.
    if dataset.id.get_create_plist().get_nfilters():
      raise ValueError(f'{dataset.name} is compressed; save it again by Keras')
    chunk = int(np.prod(dataset.chunks or (), dtype=object)) * dataset.dtype.itemsize
    self._left -= dataset.size * dataset.dtype.itemsize
    if self._left < 0 or chunk > self._most:
      raise ValueError(f'with {dataset.name} it has more than {self._most:,} bytes of weights')
    return np.asarray(dataset[()])

  def has_texts(self, node: Any, key: str) -> bool:
    """Whether there is such a list; Keras divides long ones into key0, key1, ..."""
    return key in node.attrs or f'{key}0' in node.attrs

  def texts(self, node: Any, key: str) -> list[str]:
    """A list of strings."""
    if key in node.attrs:
      return [_text(value) for value in self._attribute(node, key)]
    found: list[str] = []
    number = 0
    while f'{key}{number}' in node.attrs:
      found += [_text(value) for value in self._attribute(node, f'{key}{number}')]
      number += 1
    if not number:
      raise ValueError(f'{node.name} has no {key}')
    return found

  def text(self, node: Any, key: str) -> str:
    """A string; '' where there is none."""
    return _text(self._attribute(node, key)) if key in node.attrs else ''

  def _attribute(self, node: Any, key: str) -> Any:
    found = node.attrs.get_id(key)
    if int(np.prod(found.shape or (), dtype=object)) * found.dtype.itemsize > _MOST_TEXT:
      raise ValueError(f'{key} of {node.name} has more than {_MOST_TEXT:,} bytes')
    return node.attrs[key]


def _text(value: Any) -> str:
  return value.decode() if isinstance(value, bytes) else str(value)


def _kind(layer: str, name: str) -> str:
  """'kernel' of 'block1_conv1/kernel:0', 'block1_conv1_W_1:0' and the like."""
  last = name.rpartition('/')[2].partition(':')[0].removeprefix(f'{layer}_')
  return next((kind for old, kind in _OLD_KINDS.items() if _is_old(last, old)), last)


def _is_old(name: str, old: str) -> bool:
  """Whether a name is that of Keras 1, perhaps with a number behind it."""
  rest = name.removeprefix(old)
  return name.startswith(old) and (not rest or (rest[0] == '_' and rest[1:].isdigit()))
