"""Reads the weights of Keras's .h5 files: groups of layers with the names of their arrays."""

import pathlib
from typing import Any

import numpy as np

from cifar_jax.utils.errors import UserError
from cifar_jax.utils.optional_deps import require

# Names of Keras 1, as in the files that keras.applications downloads.
_OLD_KINDS = {'W': 'kernel', 'b': 'bias'}


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
  """The arrays of a file as 'layer/kernel', 'layer/bias' and so on.

  Raises:
    UserError: h5py is missing, the file cannot be read, or is none of Keras's.
  """
  (h5py,) = require('transfer', 'h5py')
  try:
    with h5py.File(path, 'r') as file:
      root = file.get('model_weights', file)  # model.save() puts them a level down
      if 'layer_names' not in root.attrs:
        raise ValueError('it has no layer_names; Keras 3 writes them with model.save("NAME.h5")')
      tensors = {}
      for layer in _texts(root.attrs['layer_names']):
        group = _own(h5py, root, layer)
        for name in _texts(group.attrs['weight_names']):
          tensors[f'{layer}/{_kind(layer, name)}'] = _array(_own(h5py, group, name))
      return tensors
  except UserError:
    raise
  except OSError as error:
    raise UserError(f'{path} cannot be read as HDF5 ({error})') from None
  except Exception as error:  # h5py raises almost anything on damaged files
    raise UserError(f"{path} is no file of Keras's weights, or damaged ({error})") from None


def _texts(values: Any) -> list[str]:
  return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _own(h5py: Any, group: Any, name: str) -> Any:
  """What a name stands for, unless a link on the way leads out of the file."""
  for part in name.strip('/').split('/'):
    if not isinstance(group.get(part, getlink=True), h5py.HardLink):
      raise ValueError(f'{name} is a link')
    group = group[part]
  return group


def _array(dataset: Any) -> np.ndarray:
  if dataset.external or dataset.is_virtual:
    raise ValueError(f'{dataset.name} lies in another file')
  if dataset.size * dataset.dtype.itemsize > 2**32:
    raise ValueError(f'{dataset.name} says it has more than 4 GiB')
  return np.asarray(dataset[()])


def _kind(layer: str, name: str) -> str:
  """'kernel' of 'block1_conv1/kernel:0', 'block1_conv1_W_1:0' and the like."""
  last = name.rpartition('/')[2].partition(':')[0].removeprefix(f'{layer}_')
  return _OLD_KINDS.get(last.partition('_')[0], last)
