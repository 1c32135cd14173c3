"""The target torch: a state dict, and a file that defines the network with PyTorch alone."""

import importlib.util
import pathlib
import pprint
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import numpy as np
from flax.traverse_util import flatten_dict

from cifar_jax.augment.normalize import Statistics
from cifar_jax.exchange import exported
from cifar_jax.exchange.layer_calls import layer_calls
from cifar_jax.exchange.targets import Options, Predict, Written
from cifar_jax.exchange.torch_module import network_class
from cifar_jax.exchange.torch_names import NORMALIZE, layers_of
from cifar_jax.predict.classifier import Classifier
from cifar_jax.utils.optional_deps import require

MODULE, WEIGHTS = 'model.py', 'model.pth'
_HEAD = '''"""{title}

  import torch, model

  network = model.load()
  images = torch.rand(1, {channels}, {height}, {width})  # {what}: float in 0..1, or uint8
  probabilities = network(images).softmax(1)
  print(model.CLASS_NAMES[int(probabilities.argmax())])

The network normalizes images itself. Its weights have the names of cifar_jax, with dots. In
training, BatchNorm of PyTorch puts the unbiased variance of a batch into its running average, and
that of cifar_jax the biased one.
"""

'''


def write(network: Classifier, folder: pathlib.Path, options: Options) -> Written:
  """Writes model.py and model.pth into an empty folder.

  Raises:
    UserError: PyTorch is not installed, or has no layer for one of the network's.
  """
  del options
  (torch,) = require('torch', 'torch')
  module, shape, statistics = network.module, network.image_shape, exported.statistics(network)
  title = f'The network {network.config.model.get("name")} for {len(network.class_names)} classes.'
  source = model_source(module, shape, network.class_names, statistics, title)
  tensors = state_dict(module, shape, network.variables, statistics)
  (folder / MODULE).write_text(source, 'utf-8', newline='\n')
  torch.save({name: torch.from_numpy(array) for name, array in tensors.items()}, folder / WEIGHTS)
  height, width, channels = shape
  return Written(
    MODULE,
    (
      f'it takes images [N, {channels}, {height}, {width}], float in 0..1 or uint8, as '
      'torchvision and PIL give them, and normalizes them itself',
      'python -m cifar_jax import reads model.pth back',
    ),
    {
      'input': {
        'dtype': 'uint8 or float32',
        'shape': ['N', channels, height, width],
        'values': '0..255 of uint8, 0..1 of float32',
      },
      'weights': WEIGHTS,
    },
  )


def open_exported(folder: pathlib.Path, options: Options) -> Predict:
  """Opens model.py as a program of PyTorch does."""
  del options
  (torch,) = require('torch', 'torch')
  spec = importlib.util.spec_from_file_location('exported_model', folder / MODULE)
  assert spec is not None
  assert spec.loader is not None
  model = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(model)
  network = model.load()

  def predict(images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
      return network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()

  return predict


def state_dict(
  module: nn.Module,
  image_shape: Sequence[int],
  variables: Mapping[str, Any],
  normalization: Statistics,
) -> dict[str, np.ndarray]:
  """The tensors of `model_source`'s network by name, float32.

  Raises:
    UserError: the network cannot take such images.
  """
  arrays = {path: np.asarray(leaf) for path, leaf in flatten_dict(dict(variables)).items()}
  found = _normalization(normalization, image_shape)
  for layer in layers_of(layer_calls(module, image_shape), variables):
    for tensor in layer.tensors.values():
      if tensor.path is None:
        array = np.full(tensor.shape, tensor.constant, np.float32)
      else:
        array = tensor.export(arrays[tensor.path])
      found[tensor.name] = array
  # Copies, of which PyTorch may keep and change what it is given.
  return {name: np.array(array, np.float32, order='C') for name, array in found.items()}


def model_source(
  module: nn.Module,
  image_shape: Sequence[int],
  class_names: Sequence[str],
  normalization: Statistics,
  title: str,
) -> str:
  """The text of the module that defines the network and loads its weights.

  Args:
    title: What the network is, in one line.

  Raises:
    UserError: PyTorch has no layer for one of the network's.
  """
  height, width, channels = image_shape
  classes = network_class(module, image_shape, _normalize_layer(normalization, image_shape))
  imports = ['from collections import OrderedDict'] if 'OrderedDict(' in classes else []
  imports += ['from pathlib import Path', '', 'import torch']
  imports.append('from torch import nn')
  if 'functional.' in classes:
    imports.append('from torch.nn import functional')
  names = pprint.pformat(tuple(class_names), width=96, compact=True)
  what = {1: 'gray', 3: 'RGB'}.get(channels, f'{channels} channels')
  head = _HEAD.format(title=title, channels=channels, height=height, width=width, what=what)
  return (
    f'{head}'
    + '\n'.join(imports)
    + f'\n\nCLASS_NAMES = {names}\nIMAGE_SHAPE = ({channels}, {height}, {width})\n'
    f'WEIGHTS = Path(__file__).with_name({WEIGHTS!r})\n\n\n{classes}\n\n'
    'def load(path=WEIGHTS):\n'
    '  """The trained network, set to evaluation."""\n'
    '  network = Network()\n'
    '  network.load_state_dict(torch.load(path, weights_only=True))\n'
    '  return network.eval()\n'
  )


def _normalize_layer(normalization: Statistics, image_shape: Sequence[int]) -> str:
  if normalization.whitening is not None:
    height, width, channels = image_shape
    return f'Whiten({channels}, {height}, {width})'
  mean, std = (tuple(map(float, values)) for values in (normalization.mean, normalization.std))
  return f'Normalize({_numbers(mean)}, {_numbers(std)})'


def _numbers(values: Sequence[float]) -> str:
  """The shortest text of float32 numbers."""
  texts = [str(np.float32(value)) for value in values]
  return f'({", ".join(texts)}{"," if len(texts) == 1 else ""})'


def _normalization(normalization: Statistics, image_shape: Sequence[int]) -> dict[str, np.ndarray]:
  """The buffers of the first layer."""
  mean, matrix = normalization.mean, normalization.whitening
  if matrix is None:
    return {
      f'{NORMALIZE}.{name}': np.asarray(values, np.float32).reshape(-1, 1, 1)
      for name, values in (('mean', mean), ('std', normalization.std))
    }
  size = int(np.prod(image_shape))
  order = np.arange(size).reshape(image_shape).transpose(2, 0, 1).ravel()
  return {
    f'{NORMALIZE}.mean': np.asarray(mean, np.float32)[order],
    f'{NORMALIZE}.whitening': np.asarray(matrix, np.float32)[np.ix_(order, order)],
  }
