"""The peers train the same network: as many trainable parameters as ours, hence the same work."""

import importlib
import math

import jax
import jax.numpy as jnp
import pytest

from cifar_jax import models
from cifar_jax.analysis import layer_table

# With what the peers have beyond ours: a scale that is not trained is none, but Keras gives the
# logits of airbench a bias.
NAMES = ('cnn_adv', 'cnn_pkaur', 'cnn_fchollet', 'tutorial_6layer', 'airbench94')
FAMILIES = ('resnet18', 'resnet20', 'vgg16', 'vit_tiny')


def parameters(config) -> int:
  module = models.create(config.model, 10)
  variables = jax.eval_shape(
    lambda: module.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False)
  )
  return layer_table.parameter_count(variables)[0]


@pytest.mark.parametrize('name', [*NAMES, *FAMILIES])
def test_pytorch(name: str) -> None:
  torch = pytest.importorskip('torch')
  from benchmarks.speed.systems import torch_networks

  config = importlib.import_module(f'configs.{name}').get_config()
  network = torch_networks.build(config)
  trainable = [p.numel() for p in network.parameters() if p.requires_grad]
  assert sum(trainable) == parameters(config)
  assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
  assert torch_networks.optimizer(config, network)


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_keras(name: str) -> None:
  pytest.importorskip('keras')
  from benchmarks.speed.systems import keras_networks

  config = importlib.import_module(f'configs.{name}').get_config()
  trainable = sum(math.prod(w.shape) for w in keras_networks.build(config).trainable_weights)
  bias = 10 if name == 'airbench94' else 0
  assert trainable - bias == parameters(config)
