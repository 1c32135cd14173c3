"""A network without training whose outputs a line of NumPy computes."""

import dataclasses
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cifar_jax import models
from cifar_jax.augment.normalize import Statistics, make_normalize
from cifar_jax.data.preprocessing import of_arrays
from cifar_jax.predict.classifier import Classifier
from tests.helpers import tiny

SHAPE, CLASSES = (4, 5, 3), ('ant', 'bee', 'cow')
MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.5]


def linear_network(whitened: bool = False) -> Classifier:
  """A dense layer on the pixels, normalized by MEAN and STD, or by a whitening matrix."""
  config = tiny.get_config()
  config.model.update(widths=(), block=(), head=('flatten',))
  config.data.update(mean=MEAN, std=STD)
  generator = np.random.default_rng(0)
  size = int(np.prod(SHAPE))
  dense = {
    'kernel': generator.normal(size=(size, len(CLASSES))).astype(np.float32),
    'bias': generator.normal(size=len(CLASSES)).astype(np.float32),
  }
  statistics = Statistics(
    generator.uniform(size=size).astype(np.float32),
    np.ones(size, np.float32),
    generator.normal(size=(size, size)).astype(np.float32),
  )
  return Classifier(
    run=pathlib.Path('by_hand'),
    config=config.lock(),
    module=models.create(config.model, len(CLASSES)),
    variables={'params': {'logits': dense}, 'batch_stats': {}},
    step=7,
    class_names=CLASSES,
    image_shape=SHAPE,
    preprocessing=of_arrays(config.data, SHAPE),
    normalize=statistics if whitened else make_normalize(MEAN, STD),
  )


def network_of(module: nn.Module) -> Classifier:
  """One of another module, which is initialized."""
  variables = module.init(jax.random.key(0), jnp.zeros((1, *SHAPE)), train=False)
  return dataclasses.replace(linear_network(), module=module, variables=variables)


def pictures(count: int) -> np.ndarray:
  return np.random.default_rng(1).integers(0, 256, (count, *SHAPE)).astype(np.uint8)


def normalized(network: Classifier, images: np.ndarray) -> np.ndarray:
  """float32 [N, H, W, C], by the definition."""
  scaled = images.astype(np.float64) / 255
  if isinstance(network.normalize, Statistics):
    flat = (scaled.reshape(len(images), -1) - network.normalize.mean) @ network.normalize.whitening
    return flat.reshape(images.shape).astype(np.float32)
  return ((scaled - MEAN) / STD).astype(np.float32)


def outputs(network: Classifier, images: np.ndarray, kind: str = 'logits') -> np.ndarray:
  """float64 [N, classes], by the definition."""
  dense = network.variables['params']['logits']
  rows = normalized(network, images).astype(np.float64).reshape(len(images), -1)
  logits = rows @ dense['kernel'] + dense['bias']
  if kind == 'logits':
    return logits
  exponents = np.exp(logits - logits.max(1, keepdims=True))
  return exponents / exponents.sum(1, keepdims=True)


class Outside(nn.Module):
  """Asks Python for its result, as no program can that leaves it."""

  @nn.compact
  def __call__(self, inputs: jax.Array) -> jax.Array:
    shape = jax.ShapeDtypeStruct(inputs.shape, inputs.dtype)
    return jax.pure_callback(lambda values: np.asarray(values) * 2, shape, inputs)


class Middle(nn.Module):
  @nn.compact
  def __call__(self, inputs: jax.Array) -> jax.Array:
    return Outside()(inputs)


class WithOutside(nn.Module):
  num_classes: int

  @nn.compact
  def __call__(self, images: jax.Array, train: bool) -> jax.Array:
    maps = Middle()(nn.Dense(4)(images))
    return nn.Dense(self.num_classes)(maps.mean((1, 2)))
