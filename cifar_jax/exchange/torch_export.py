"""A trained network for PyTorch: its weights, and a file that defines it with PyTorch alone."""

import pprint
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import numpy as np
from flax.traverse_util import flatten_dict

from cifar_jax.augment.normalize import Statistics
from cifar_jax.exchange.layer_calls import layer_calls
from cifar_jax.exchange.torch_module import network_class
from cifar_jax.exchange.torch_names import layers_of

MODULE = 'model.py'
_HEAD = '''"""{title}

  import torch, model

  network = model.load()
  images = torch.rand(1, {channels}, {height}, {width})  # {what} in 0..1; it normalizes them itself
  probabilities = network(images).softmax(1)
  print(model.CLASS_NAMES[int(probabilities.argmax())])

The names of the weights are those of cifar_jax, with dots. BatchNorm in PyTorch puts the unbiased
variance of a batch into its running average, cifar_jax the biased one; they differ in training.
"""

'''


def state_dict(
  module: nn.Module,
  image_shape: Sequence[int],
  variables: Mapping[str, Any],
  normalization: Statistics | None,
) -> dict[str, np.ndarray]:
  """The tensors of `model_source`'s network by name, float32.

  Raises:
    UserError: the network cannot take such images.
  """
  arrays = {path: np.asarray(leaf) for path, leaf in flatten_dict(dict(variables)).items()}
  found: dict[str, np.ndarray] = {}
  if normalization is not None:
    found |= _normalization(normalization, image_shape)
  for layer in layers_of(layer_calls(module, image_shape), variables):
    for tensor in layer.tensors.values():
      if tensor.path is None:
        array = np.full(tensor.shape, tensor.constant, np.float32)
      else:
        array = tensor.export(arrays[tensor.path])
      found[tensor.name] = np.ascontiguousarray(array, np.float32)
  return found


def model_source(
  module: nn.Module,
  image_shape: Sequence[int],
  class_names: Sequence[str],
  normalization: Statistics | None,
  title: str,
  weights: str,
) -> str:
  """The text of the module that defines the network and loads its weights.

  Args:
    normalization: None where the network takes images in 0..1 as they are.
    title: What the network is, in one line.
    weights: The name of the file of weights beside it.

  Raises:
    UserError: PyTorch has no layer for one of the network's.
  """
  height, width, channels = image_shape
  classes = network_class(module, image_shape, _normalize_layer(normalization, image_shape))
  imports = ['from collections import OrderedDict'] if 'OrderedDict(' in classes else []
  imports += ['from pathlib import Path', '', 'import torch']
  reads = 'torch.load(path, weights_only=True)'
  if weights.endswith('.safetensors'):
    imports.append('from safetensors.torch import load_file')
    reads = 'load_file(path)'
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
    f'WEIGHTS = Path(__file__).with_name({weights!r})\n\n\n{classes}\n\n'
    'def load(path=WEIGHTS):\n'
    '  """The trained network, set to evaluation."""\n'
    '  network = Network()\n'
    f'  network.load_state_dict({reads})\n'
    '  return network.eval()\n'
  )


def _normalize_layer(normalization: Statistics | None, image_shape: Sequence[int]) -> str | None:
  if normalization is None:
    return None
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
      f'normalize.{name}': np.asarray(values, np.float32).reshape(-1, 1, 1)
      for name, values in (('mean', mean), ('std', normalization.std))
    }
  size = int(np.prod(image_shape))
  order = np.arange(size).reshape(image_shape).transpose(2, 0, 1).ravel()
  return {
    'normalize.mean': np.asarray(mean, np.float32)[order],
    'normalize.whitening': np.asarray(matrix, np.float32)[np.ix_(order, order)],
  }
