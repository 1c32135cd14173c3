"""Files in the layouts of Keras 1, 2 and 3, written by h5py alone."""

import io
import json
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Of each layer its class, its options and its arrays by the name that Keras gives them, in order.
Layer = tuple[str, dict[str, Any], dict[str, np.ndarray]]


def described(layers: Sequence[Layer], new: bool = True) -> dict[str, Any]:
  """A Sequential model: a list of layers until Keras 2.2.2, options with such a list since."""
  listed = [{'class_name': kind, 'config': options} for kind, options, _ in layers]
  return {'class_name': 'Sequential', 'config': {'layers': listed} if new else listed}


def write_h5(
  path: pathlib.Path,
  layers: Sequence[Layer],
  *,
  version: str = '2.1.5',
  backend: str = 'tensorflow',
  config: Mapping[str, Any] | None = None,
  whole: bool = True,
) -> pathlib.Path:
  """What model.save() of Keras 1 or 2 writes; not `whole`: what model.save_weights() does."""
  import h5py

  with h5py.File(path, 'w') as file:
    root = file
    if whole:
      config = config or described(layers, new=False)
      file.attrs['model_config'] = json.dumps(config).encode()
      root = file.create_group('model_weights')
    root.attrs['layer_names'] = [options['name'].encode() for _, options, _ in layers]
    if backend:
      root.attrs['backend'] = backend.encode()
    root.attrs['keras_version'] = version.encode()
    for _, options, arrays in layers:
      group = root.create_group(options['name'])
      old = version.startswith('1')
      names = [f'{options["name"]}_{n}' if old else f'{options["name"]}/{n}:0' for n in arrays]
      group.attrs['weight_names'] = [name.encode() for name in names]
      for name, array in zip(names, arrays.values(), strict=True):
        group[name] = array
  return path


def write_keras(
  path: pathlib.Path,
  layers: Sequence[Layer],
  keys: Sequence[str],
  *,
  version: str = '3.0.5',
  container: str = 'layers',
  names: bool = False,
  config: Mapping[str, Any] | None = None,
) -> pathlib.Path:
  """What model.save() of Keras 3 writes; `keys` are the names of the groups, of class and number.

  With `names` each group says the layer's name, as since 3.8 or so; a path that ends with
  .weights.h5 gets the weights alone.
  """
  import h5py

  content = io.BytesIO()
  with h5py.File(content, 'w') as file:
    for (_, options, arrays), key in zip(layers, keys, strict=True):
      group = file.create_group(f'{container}/{key}/vars')
      if names:
        group.attrs['name'] = options['name']
      for number, array in enumerate(arrays.values()):
        group[str(number)] = array
    file.create_group('optimizer/vars')['0'] = np.zeros(3, np.float32)
  if path.name.endswith('.weights.h5'):
    path.write_bytes(content.getvalue())
    return path
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('metadata.json', json.dumps({'keras_version': version}))
    archive.writestr('config.json', json.dumps(config or described(layers)))
    archive.writestr('model.weights.h5', content.getvalue())
  return path
