"""A published network small enough for tests, with files of weights in all formats."""

import pathlib
from collections.abc import Mapping

import flax.linen as nn
import jax
import numpy as np
from ml_collections import ConfigDict

from cifar_jax import layers
from cifar_jax.models import pretrained
from cifar_jax.models.pretrained.tensors import BATCH_NORM, Place, convolution, dense, vector


class Tiny(nn.Module):
  """A convolution with BatchNorm, and a dense layer if asked for."""

  num_classes: int = 0

  @nn.compact
  def __call__(self, images: jax.Array, train: bool, mask: jax.Array | None = None) -> jax.Array:
    maps = layers.Conv(6, 3, 2, use_bias=False, name='conv')(images)
    maps = layers.BatchNorm(name='bn')(maps, not train, mask)
    maps = jax.nn.relu(maps)
    if not self.num_classes:
      return maps
    return layers.Dense(self.num_classes, name='fc')(maps.mean((1, 2)))


def from_torch(name: str) -> Place | None:
  layer, _, kind = name.rpartition('.')
  if layer == 'bn' and kind in BATCH_NORM:
    collection, leaf = BATCH_NORM[kind]
    return Place(collection, ('bn', leaf), vector)
  return {
    'conv.weight': Place('params', ('conv', 'kernel'), convolution),
    'fc.weight': Place('params', ('fc', 'kernel'), dense),
    'fc.bias': Place('params', ('fc', 'bias'), vector),
  }.get(name)


def from_keras(name: str) -> Place | None:
  layer, _, kind = name.partition('/')
  if layer == 'bn' and kind in ('moving_mean', 'moving_variance'):
    return Place('batch_stats', ('bn', {'moving_mean': 'mean'}.get(kind, 'var')))
  kinds = {'gamma': 'scale', 'beta': 'bias', 'kernel': 'kernel', 'bias': 'bias'}
  return Place('params', (layer, kinds[kind])) if kind in kinds else None


NETWORK = pretrained.Network(
  Tiny, {'torch': from_torch, 'keras': from_keras}, ('tiny.pth', 'tiny.h5')
)


def use_as_base(config: ConfigDict, folder: pathlib.Path, **options: object) -> None:
  """Puts a network on its maps, which stay as they are, into a config; writes its weights."""
  config.optimizer.groups.base = ConfigDict({'pattern': 'base/.*', 'frozen_from_epoch': 0})
  weights = str(write_safetensors(folder / 'tiny.safetensors', tensors()))
  model = {'name': 'pretrained', 'network': 'tiny', 'weights': weights, **options}
  config.model = ConfigDict(model)


def tensors() -> dict[str, np.ndarray]:
  """As PyTorch has them."""
  generator = np.random.default_rng(0)
  shapes: Mapping[str, tuple[int, ...]] = {
    'conv.weight': (6, 3, 3, 3),
    'bn.weight': (6,),
    'bn.bias': (6,),
    'bn.running_mean': (6,),
    'fc.weight': (5, 6),
    'fc.bias': (5,),
  }
  found = {name: generator.normal(size=shape) for name, shape in shapes.items()}
  found['bn.running_var'] = generator.uniform(0.5, 2, 6)
  return {name: array.astype(np.float32) for name, array in found.items()}


def write_safetensors(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> pathlib.Path:
  """Written by hand after the format's description."""
  import json
  import struct

  header, body = {}, b''
  for name, array in arrays.items():
    data = array.tobytes()
    header[name] = {
      'dtype': {'float32': 'F32', 'int64': 'I64', 'float16': 'F16'}[str(array.dtype)],
      'shape': list(array.shape),
      'data_offsets': [len(body), len(body) + len(data)],
    }
    body += data
  text = json.dumps(header).encode()
  path.write_bytes(struct.pack('<Q', len(text)) + text + body)
  return path
