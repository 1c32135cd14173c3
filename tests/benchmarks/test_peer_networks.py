"""The peers train the same network: as many trainable parameters as ours, hence the same work; and
where layers come in the same order, the same outputs from the same weights.
"""

import importlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from cifar_jax import models
from cifar_jax.analysis import layer_table

# With what the peers have beyond ours: a scale that is not trained is none, but Keras gives the
# logits of airbench a bias.
NAMES = ('cnn_adv', 'cnn_pkaur', 'cnn_fchollet', 'tutorial_6layer', 'airbench94')
FAMILIES = (
  *('convnext_tiny', 'densenet40_12', 'mobilenet_v2', 'resnet18', 'resnet20', 'vgg16', 'vit_tiny'),
)


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


def drawn(generator: np.random.Generator, name: str, shape: tuple[int, ...]) -> np.ndarray:
  """Weights by which maps stay near 1 although those that BatchNorm gets have a variance of 0.01,
  so that another epsilon shows.
  """
  if name == 'var':
    return generator.uniform(0.005, 0.015, shape)
  if name == 'kernel':
    return generator.normal(0, 0.1 * math.sqrt(2 / math.prod(shape[:-1])), shape)
  return generator.normal(1 if name == 'scale' else 0, 0.01, shape)


def as_pytorch(array: np.ndarray) -> np.ndarray:
  """Kernels [..., C, F] as [F, C, ...]."""
  return np.moveaxis(array, (-1, -2), (0, 1)) if array.ndim > 1 else array


@pytest.mark.parametrize(
  ('name', 'changes'),
  [
    ('convnext_tiny', {'depths': (1, 2, 1), 'widths': (8, 16, 24)}),
    ('densenet40_12', {'depth': 10}),
    ('mobilenet_v2', {'width': 0.25}),
    pytest.param('resnet20', {'depth': 8}, marks=pytest.mark.thorough),
  ],
)
def test_outputs_of_pytorch(name: str, changes: dict) -> None:
  torch = pytest.importorskip('torch')
  from benchmarks.speed.systems import torch_networks

  config = importlib.import_module(f'configs.{name}').get_config()
  config.model.update(changes)
  module, generator = models.create(config.model, 10), np.random.default_rng(0)
  images = generator.uniform(-1, 1, (2, 32, 32, 3)).astype(np.float32)
  weights = {}

  def draw() -> None:  # here, layers are still in the order in which they were made
    variables = module.init(jax.random.key(0), images, train=False)
    for path, array in traverse_util.flatten_dict(variables).items():
      weights[path] = drawn(generator, path[-1], array.shape).astype(np.float32)

  jax.eval_shape(draw)
  network = torch_networks.build(config).eval()
  state = network.state_dict()
  theirs = {
    'params': [name for name, _ in network.named_parameters()],
    'batch_stats': [name for name in state if 'running' in name],
  }
  for kind, names in theirs.items():
    ours = [as_pytorch(array) for path, array in weights.items() if path[0] == kind]
    state |= {k: torch.from_numpy(array) for k, array in zip(names, ours, strict=True)}
  network.load_state_dict(state)
  with torch.no_grad():
    expected = network(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
  apply = jax.jit(lambda variables, images: module.apply(variables, images, train=False))
  found = np.asarray(apply(traverse_util.unflatten_dict(weights), images))
  assert np.std(expected[0] - expected[1]) > 1e-3
  np.testing.assert_allclose(found, expected, rtol=1e-3, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_keras(name: str) -> None:
  pytest.importorskip('keras')
  from benchmarks.speed.systems import keras_networks

  config = importlib.import_module(f'configs.{name}').get_config()
  trainable = sum(math.prod(w.shape) for w in keras_networks.build(config).trainable_weights)
  bias = 10 if name == 'airbench94' else 0
  assert trainable - bias == parameters(config)
