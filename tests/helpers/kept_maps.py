"""Prints what each further block keeps of a compiled gradient, in its input maps, as JSON.

python -m tests.helpers.kept_maps FAMILY ...
"""

import functools
import json
import math
import sys
from collections.abc import Callable

from cifar_jax.startup import xla_flags

xla_flags.set_flags()

import flax.linen as nn  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

from cifar_jax import layers  # noqa: E402
from cifar_jax.models import (  # noqa: E402
  airbench_net,
  convnext,
  densenet,
  mobilenet_v2,
  patches,
  preact_resnet,
  resnet,
)
from cifar_jax.ops.dispatch import on_one_device  # noqa: E402

F = 'float32'


def airbench(maps: jax.Array, count: int) -> jax.Array:
  return airbench_net.Group(32, count, False, 'gelu', 0.6, 1e-12, F)(maps, True, None)


def vgg(maps: jax.Array) -> jax.Array:
  maps = layers.BatchNorm(dtype=F)(layers.Conv(32, dtype=F)(maps), False)
  return layers.Activation('relu')(maps)


def residual(maps: jax.Array) -> jax.Array:
  return resnet.ResidualBlock(32, 1, 'basic', 'pad', 1, 64, 0, F)(maps, True, None)


def preact(maps: jax.Array) -> jax.Array:
  return preact_resnet.PreActivationBlock(32, 1, 'basic', 0.0, F)(maps, True, None)


def dense(maps: jax.Array) -> jax.Array:
  new = densenet.DenseLayer(12, False, 0.0, F)(maps, True, None)
  return jnp.concatenate([maps, new], axis=-1)


def inverted(maps: jax.Array) -> jax.Array:
  return mobilenet_v2.InvertedResidual(24, 6, 1, F)(maps, True, None)


def vit(tokens: jax.Array) -> jax.Array:
  tokens = tokens + patches.Attention(3, F)(patches.layer_norm(F)(tokens))
  mlp = patches.Mlp(4 * tokens.shape[-1], 0.0, F)
  return tokens + mlp(patches.layer_norm(F)(tokens), True)


def mixer(tokens: jax.Array) -> jax.Array:
  turned = patches.layer_norm(F)(tokens).swapaxes(1, 2)
  tokens = tokens + patches.Mlp(64, 0.0, F)(turned, True).swapaxes(1, 2)
  mlp = patches.Mlp(4 * tokens.shape[-1], 0.0, F)
  return tokens + mlp(patches.layer_norm(F)(tokens), True)


def next_block(maps: jax.Array) -> jax.Array:
  return convnext.ConvNeXtBlock(0.0, F)(maps, True)


# What makes a block, and the shape of its inputs.
FAMILIES: dict[str, tuple[Callable, tuple[int, ...]]] = {
  'vgg': (vgg, (16, 32, 32, 32)),
  'resnet': (residual, (16, 32, 32, 32)),
  'preact_resnet': (preact, (16, 32, 32, 32)),
  'airbench_net': (airbench, (16, 64, 64, 32)),
  'densenet': (dense, (16, 32, 32, 16)),
  'mobilenet_v2': (inverted, (16, 32, 32, 24)),
  'vit': (vit, (16, 65, 192)),
  'mixer': (mixer, (16, 64, 128)),
  'convnext': (next_block, (16, 16, 16, 32)),
}


class Chain(nn.Module):
  family: str
  count: int

  @nn.compact
  def __call__(self, maps: jax.Array) -> jax.Array:
    block, _ = FAMILIES[self.family]
    if self.family == 'airbench_net':
      return block(maps, self.count)
    return functools.reduce(lambda maps, _: block(maps), range(self.count), maps)


def temporaries(family: str, count: int) -> int:
  """Bytes beside arguments and results that the gradient of a chain of blocks needs."""
  chain = Chain(family, count)
  images = jax.ShapeDtypeStruct(FAMILIES[family][1], F)
  variables = jax.eval_shape(lambda images: chain.init(jax.random.key(0), images), images)

  def gradients(variables: dict, images: jax.Array) -> dict:
    def loss(params: dict) -> jax.Array:
      outputs, _ = chain.apply({**variables, 'params': params}, images, mutable='batch_stats')
      return jnp.sum(outputs**2)

    return jax.grad(loss)(variables['params'])

  compiled = jax.jit(on_one_device(gradients)).lower(variables, images).compile()
  return compiled.memory_analysis().temp_size_in_bytes


def kept(family: str) -> float:
  """What a block more keeps, in maps of the shape of the first inputs."""
  bytes_a_map = 4 * math.prod(FAMILIES[family][1])
  return (temporaries(family, 4) - temporaries(family, 2)) / 2 / bytes_a_map


if __name__ == '__main__':
  print(json.dumps({family: kept(family) for family in sys.argv[1:]}))
