"""Networks as PyTorch modules, with PyTorch as the judge where it is installed."""

import importlib
import pathlib
import types

import flax.linen as nn
import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax import layers, models
from cifar_jax.augment.normalize import Statistics, zca
from cifar_jax.config import get_config
from cifar_jax.data.expected import expected
from cifar_jax.exchange import imports, torch_export, torch_lines
from cifar_jax.utils.errors import UserError

NAMES = ('a', 'b', 'c', 'd', 'e')
STATISTICS = Statistics(np.float32([0.5, 0.4, 0.3]), np.float32([0.25, 0.2, 0.125]))
WORDS = {
  'name': 'conv_net',
  'widths': (8,),
  'block': (
    *('conv3', 'conv5x1 valid x2 stride=2 gelu', 'conv3 stride=2', 'conv3 dilation=2 linear'),
    *('batch_norm', 'leaky_relu(0.003)', 'max_pool 3 stride=2 same', 'avg_pool 2 stride=1 same'),
    'dropout 0.25',
  ),
  'head': ('flatten', 'batch_norm', 'dense 12 tanh', 'dropout 0.5'),
}


def target(model: dict, shape: tuple[int, int, int], classes: int = 5) -> imports.Target:
  config = get_config()
  config.model = ConfigDict(model)
  return imports.make_target(config, [str(number) for number in range(classes)], shape)


def lines(model: dict, shape: tuple[int, int, int]) -> list[str]:
  """The text of each layer, without its name."""
  made = target(model, shape)
  text = torch_export.model_source(made.module, shape, NAMES, STATISTICS, 'A network.')
  compile(text, 'model.py', 'exec')
  found = [line.strip() for line in text.split('\n')]
  return [line.partition("', ")[2][:-2] for line in found if line.startswith("('")]


def test_every_word_of_a_sequential_network_becomes_a_layer() -> None:
  assert lines(WORDS, (32, 32, 3)) == [
    'Normalize((0.5, 0.4, 0.3), (0.25, 0.2, 0.125))',
    'nn.Conv2d(3, 8, 3, padding=1)',
    'nn.ReLU()',
    'nn.Conv2d(8, 16, (5, 1), stride=2)',
    'nn.GELU()',
    'nn.ConstantPad2d((0, 1, 0, 1), 0.0)',  # 14x16 by 2: a pixel at the end
    'nn.Conv2d(16, 8, 3, stride=2)',
    'nn.ReLU()',
    'nn.Conv2d(8, 8, 3, padding=2, dilation=2)',
    'nn.BatchNorm2d(8, eps=0.001, momentum=0.01)',
    'nn.LeakyReLU(0.003)',
    "nn.ConstantPad2d((0, 1, 1, 1), float('-inf'))",  # 7 rows by 2 and 8 columns
    'nn.MaxPool2d(3, stride=2)',
    'AveragePool((2, 2), (1, 1), (0, 1, 0, 1))',
    'nn.Dropout(0.25)',
    'nn.Flatten()',
    'nn.BatchNorm1d(128, eps=0.001, momentum=0.01)',
    'nn.Linear(128, 12)',
    'nn.Tanh()',
    'nn.Dropout(0.5)',
    'nn.Linear(12, 5)',
  ]


def test_every_activation_has_a_class() -> None:
  assert torch_lines.ACTIVATIONS.keys() == set(layers.activation_names())


def test_maps_are_flattened_channels_first() -> None:
  model = {'name': 'conv_net', 'widths': (4,), 'block': ('conv3', 'max_pool')}
  made = target({**model, 'head': ('flatten', 'batch_norm')}, (6, 4, 3))
  variables = randomized(made)
  found = torch_export.state_dict(made.module, (6, 4, 3), variables, STATISTICS)
  params = variables['params']
  for row, column, channel in ((0, 0, 1), (2, 1, 3), (1, 1, 0)):
    here, there = (row * 2 + column) * 4 + channel, (channel * 3 + row) * 2 + column
    scale = found['BatchNorm_0.weight'][there]
    assert np.array_equal(scale, params['BatchNorm_0']['scale'][here])
    assert np.array_equal(found['logits.weight'][:, there], params['logits']['kernel'][here])
  kernel = params['Conv_0']['kernel']
  assert found['Conv_0.weight'][3, 1, 0, 2] == kernel[0, 2, 1, 3]
  assert found['normalize.std'].tolist() == [[[0.25]], [[0.20000000298023224]], [[0.125]]]


class Adds(nn.Module):
  """A network of the user's whose layers are no chain."""

  num_classes: int

  @nn.compact
  def __call__(self, images, train):
    maps = layers.Conv(4, name='first')(images)
    maps = maps + layers.Conv(4, name='second')(maps)
    return layers.Dense(self.num_classes, name='last')(layers.GlobalAveragePool()(maps))


class Chain(nn.Module):
  """A network of the user's whose layers are a chain."""

  num_classes: int

  @nn.compact
  def __call__(self, images, train):
    maps = layers.MaxPool()(layers.Conv(4, activation='relu', name='first')(images))
    return layers.Dense(self.num_classes, name='last')(layers.GlobalAveragePool()(maps))


class Unknown(nn.Module):
  """A network with a layer of Flax's own."""

  num_classes: int

  @nn.compact
  def __call__(self, images, train):
    maps = nn.ConvTranspose(4, (3, 3), name='up')(images)
    return layers.Dense(self.num_classes)(layers.GlobalAveragePool()(maps))


@pytest.mark.parametrize(
  ('network', 'said'),
  [
    ('Adds', 'between the layer second and the layer GlobalAveragePool_0 it computes something'),
    ('Unknown', 'no counterpart here of the layer up, a ConvTranspose'),
  ],
)
def test_the_layer_that_is_the_reason_is_named(network, said) -> None:
  with pytest.raises(UserError, match=said):
    lines({'name': f'{__name__}:{network}'}, (8, 8, 3))


def test_a_chain_of_our_layers_is_written_whoever_wrote_it() -> None:
  assert lines({'name': f'{__name__}:Chain'}, (8, 8, 3))[1:] == [
    *('nn.Conv2d(3, 4, 3, padding=1)', 'nn.ReLU()', 'nn.MaxPool2d(2)'),
    *('nn.AdaptiveAvgPool2d(1)', 'nn.Flatten()', 'nn.Linear(4, 5)'),
  ]


def randomized(made: imports.Target, seed: int = 0) -> dict:
  """Random weights, statistics included, of a size that keeps activations alive."""
  generator = np.random.default_rng(seed)

  def draw(path, leaf):
    name = path[-1].key
    if name in ('var', 'scale'):
      return generator.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
    size = (2 / np.prod(leaf.shape[:-1])) ** 0.5 if len(leaf.shape) > 1 else 0.1
    return generator.normal(0, size, leaf.shape).astype(np.float32)

  return jax.tree_util.tree_map_with_path(draw, made.shapes)


def assert_same_in_torch(
  made: imports.Target, folder: pathlib.Path, statistics: Statistics = STATISTICS
) -> None:
  """Logits of PyTorch's forward pass of the written module, and the way back."""
  torch = pytest.importorskip('torch')
  shape, variables = made.image_shape, randomized(made)
  logits = sum(leaf.shape[-1] for leaf in jax.tree.leaves(made.shapes['params'])[-1:])
  text = torch_export.model_source(made.module, shape, ['x'] * logits, statistics, 'A network.')
  model = types.ModuleType('model')
  model.__file__ = str(folder / 'model.py')
  exec(compile(text, 'model.py', 'exec'), model.__dict__)
  tensors = torch_export.state_dict(made.module, shape, variables, statistics)
  torch.save({name: torch.from_numpy(a) for name, a in tensors.items()}, folder / 'model.pth')
  images = np.random.default_rng(1).integers(0, 256, (3, *shape), np.uint8)

  def ours(variables, images):
    return models.apply(made.module, variables, statistics(images), train=False)

  found = np.asarray(jax.jit(ours)(variables, images))
  with torch.no_grad():
    expected = model.load()(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
  np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * max(1, np.abs(expected).max()))
  back = imports.read(folder / 'model.pth', made)
  jax.tree.map(np.testing.assert_array_equal, back.variables, variables)
  assert back.normalization is not None
  assert np.array_equal(back.normalization.mean, statistics.mean)
  if statistics.whitening is not None:
    assert np.array_equal(back.normalization.whitening, statistics.whitening)


ARTICLES = (
  *('alexnet', 'catsdogs_scratch', 'cnn_adv', 'cnn_fchollet', 'cnn_pkaur', 'cnn_simple'),
  *('episode2', 'lenet5', 'lr', 'mlp', 'p5_8140', 'p5_dcnn', 'tutorial_4layer', 'tutorial_6layer'),
  *('vgg16_bottleneck', 'efficientnet_bottleneck', 'speedrun94', 'fast83', 'fast90', 'fast94'),
  *('airbench94', 'airbench96', 'resnet20', 'preact_resnet18', 'resnext29', 'vgg16', 'vit_tiny'),
  *('convnext_tiny', 'mlp_mixer', 'mobilenet_v2', 'densenet40_12', 'densenet_bc100_12'),
)


@pytest.mark.thorough
@pytest.mark.parametrize('name', ARTICLES)
def test_networks_of_the_configs(name, tmp_path) -> None:
  config = importlib.import_module(f'configs.{name}').get_config()
  if 'dtype' in config.model:
    config.model.dtype = 'float32'
  data = expected(config.data)
  shape, classes = data.image_shape, data.num_classes
  if config.data.name == 'folder':
    classes = 2
  made = imports.make_target(config, [str(number) for number in range(classes)], shape)
  channels = shape[2]
  assert_same_in_torch(
    made, tmp_path, Statistics(STATISTICS.mean[:channels], STATISTICS.std[:channels])
  )


@pytest.mark.thorough
@pytest.mark.parametrize('shape', [(32, 32, 3), (33, 31, 3)])
def test_every_word(shape, tmp_path) -> None:
  assert_same_in_torch(target(WORDS, shape), tmp_path)


@pytest.mark.thorough
@pytest.mark.parametrize(
  'model',
  [
    {'name': 'conv_net', 'widths': (8,), 'block': ('conv3 linear', 'batch_norm', word, 'max_pool')}
    for word in layers.activation_names()
  ]
  + [
    {'name': 'resnet', 'depth': 11, 'block': 'bottleneck', 'shortcut': 'project', 'squeeze': 4},
    {'name': 'resnet', 'depth': 8, 'shortcut': 'pad', 'squeeze': 8},
    {'name': 'preact_resnet', 'depth': 11, 'widths': (8, 16, 16), 'block': 'bottleneck'},
    {'name': 'wide_resnet', 'depth': 10, 'width': 1, 'dropout': 0.3},
    {'name': 'airbench_net', 'widths': (8, 16), 'convolutions': (1, 3), 'residual': True},
    {'name': 'airbench_net', 'whitening_activation': 'elu(0.5)', 'activation': 'celu(2.0)'},
    {'name': 'densenet', 'depth': 10, 'bottleneck': True, 'compression': 0.5, 'remat': True},
    {'name': f'{__name__}:Chain'},
  ],
  ids=str,
)
def test_variants(model, tmp_path) -> None:
  assert_same_in_torch(target(model, (16, 16, 3)), tmp_path)


@pytest.mark.thorough
def test_zca(tmp_path) -> None:
  images = np.random.default_rng(0).integers(0, 256, (50, 8, 6, 3), np.uint8)
  model = {'name': 'conv_net', 'widths': (4,), 'block': ('conv3', 'max_pool')}
  assert_same_in_torch(target(model, (8, 6, 3)), tmp_path, zca(images, 0.1))
