"""Networks in Keras, and Keras's own models here: Keras gives the logits to compare with.

Models of the articles are written here by hand in Keras, as the articles have them.
"""

import dataclasses
import functools
import importlib
import os
import pathlib
import subprocess
import sys
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax import models
from cifar_jax.augment.normalize import Statistics, make_normalize, zca
from cifar_jax.data.preprocessing import of_arrays
from cifar_jax.exchange import imports, keras_export, keras_h5_export, keras_import, keras_model
from cifar_jax.exchange.keras_graph import trace
from cifar_jax.exchange.targets import Options
from cifar_jax.predict.classifier import Classifier
from cifar_jax.utils.errors import UserError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings('ignore')]

SHAPES = {'catsdogs_scratch': (150, 150, 3), 'lenet5': (28, 28, 1)}
ARTICLES = (
  *('lr', 'mlp', 'cnn_simple', 'cnn_adv', 'cnn_fchollet', 'cnn_pkaur', 'episode2'),
  *('tutorial_4layer', 'tutorial_6layer', 'lenet5', 'p5_dcnn', 'p5_8140', 'catsdogs_scratch'),
)
FAMILIES: dict[str, dict[str, Any]] = {
  'resnet20': {},
  'resnet18': {
    'widths': (8, 16, 16, 24),
    'shortcut': 'project',
    'block': 'bottleneck',
    'depth': 50,
  },
  'resnext29': {'widths': (8, 16, 32), 'depth': 11, 'squeeze': 4},
  'preact_resnet18': {'widths': (8, 8, 16, 16)},
  'wide_resnet28_10': {'depth': 10, 'width': 1},
  'vgg16': {'widths': (8, 8, 16, 16, 16)},
  'densenet_bc100_12': {'depth': 16, 'remat': True},
  'mobilenet_v2': {'width': 0.25},
  'airbench94': {},
  'airbench96': {'widths': (8, 16, 16)},
  'googlenet': {'width': 0.1},
  'small_inception': {'width': 0.25},
  'mlp_mixer': {'depth': 2},
}
WORDS: dict[str, dict[str, Any]] = {
  'strides and dilation': {
    'widths': (6, 5, 4),
    'block': (
      ('conv5x3 stride=2', 'conv3 dilation=2', 'conv3x1 valid'),
      ('conv3 stride=2 dilation=2', 'conv2 stride=3 dilation=3 valid'),
      ('conv1 x2', 'conv4 x0.5'),
    ),
    'head': ('global_average_pool', 'dense 7'),
  },
  'pools': {
    'widths': (4, 4),
    'block': (
      'conv3',
      'avg_pool 3 stride=2 same',
      'max_pool 3 stride=2 same',
      'avg_pool 2 stride=1',
    ),
    'head': ('flatten', 'batch_norm', 'dense 7', 'batch_norm', 'dropout 0.5'),
  },
  'activations': {
    'widths': (4,),
    'block': (
      *('conv3 gelu', 'hard_sigmoid', 'conv3 leaky_relu', 'conv3 leaky_relu(0.2)', 'batch_norm'),
      *('elu', 'elu(0.5)', 'celu', 'celu(0.3)', 'mish', 'selu', 'conv1 softsign', 'conv1 linear'),
    ),
    'head': ('flatten', 'dense 9 softplus', 'dense 9 silu', 'dense 9 hard_silu', 'dense 9 relu6'),
    'activation': 'tanh',
  },
}


@pytest.fixture(scope='module')
def keras() -> Any:
  pytest.importorskip('keras')
  pytest.importorskip('h5py')
  return keras_model.keras()


def random_values(path: Any, leaf: Any) -> np.ndarray:
  """Values that no layer leaves out: variances, means and scales as after a training."""
  generator = np.random.default_rng(list(jax.tree_util.keystr(path).encode()))
  values, name = generator.standard_normal(leaf.shape), path[-1].key
  if name == 'kernel':
    values *= np.sqrt(2 / max(np.prod(leaf.shape[:-1]), 1))
  elif name == 'var':
    values = np.exp(0.3 * values)
  else:
    values = (name == 'scale') + 0.2 * values
  return values.astype(np.float32)


def network_of(name: str, **changes: Any) -> tuple[imports.Target, dict[str, Any]]:
  """The network of a config with random variables."""
  config = importlib.import_module(f'configs.{name}').get_config()
  config.model.dtype = 'float32'
  for key, value in changes.items():
    config.model[key] = value
  names = [f'class {number}' for number in range(10)]
  target = imports.make_target(config, names, SHAPES.get(name, (32, 32, 3)))
  return target, jax.tree_util.tree_map_with_path(random_values, dict(target.shapes))


def inputs_of(target: imports.Target, count: int = 3) -> np.ndarray:
  generator = np.random.default_rng(0)
  return generator.standard_normal((count, *target.image_shape)).astype(np.float32)


def logits_of(target: imports.Target, variables: Any, images: np.ndarray) -> np.ndarray:
  apply = jax.jit(functools.partial(models.apply, target.module, train=False))
  return np.asarray(apply(variables, images))


def assert_close(found: Any, expected: np.ndarray) -> None:
  largest = np.abs(expected).max()
  np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=2e-5 * max(1, largest))


def assert_same(found: Any, expected: Any) -> None:
  jax.tree.map(np.testing.assert_array_equal, found, dict(expected))


CASES: dict[str, tuple[str, dict[str, Any]]] = {
  **{name: (name, {}) for name in ARTICLES},
  **{name: (name, changes) for name, changes in FAMILIES.items()},
  **{name: ('cnn_adv', changes) for name, changes in WORDS.items()},
}


@pytest.mark.parametrize('case', CASES)
def test_keras_gives_the_same_logits_and_the_file_the_same_arrays(keras, case, tmp_path) -> None:
  name, changes = CASES[case]
  target, variables = network_of(name, **changes)
  nodes = trace(target.module, target.shapes, target.image_shape)
  model = keras_model.make(nodes, variables, name='network')
  images = inputs_of(target)
  expected = logits_of(target, variables, images)
  assert_close(model(images, training=False), expected)
  for suffix in ('.keras', '.h5'):
    path = tmp_path / f'a{suffix}'
    model.save(path)
    again = keras.saving.load_model(path, compile=False)
    assert_close(again(images, training=False), expected)
    assert_same(keras_import.read(path, target).variables, variables)


@pytest.mark.parametrize(
  ('name', 'reason'),
  [('vit_tiny', 'params/class_token'), ('convnext_tiny', 'params/stage0_block0/scale')],
)
def test_what_is_no_layer_of_keras_is_named(name, reason) -> None:
  target, _ = network_of(name)
  with pytest.raises(UserError, match=reason):
    trace(target.module, target.shapes, target.image_shape)


class OfFlax(nn.Module):
  """A network of a user's, of Flax's own layers, with one used twice and a sum of two branches."""

  @nn.compact
  def __call__(self, images: Any, train: bool) -> Any:
    maps = nn.relu(nn.Conv(6, (3, 3), strides=(2, 2), padding='VALID')(images))
    maps = nn.BatchNorm(use_running_average=not train)(maps)
    twice = nn.Conv(6, (3, 3), feature_group_count=6, use_bias=False, name='twice')
    maps = jnp.tanh(maps) + 0.5 * twice(twice(maps))
    maps = nn.Dropout(0.5, deterministic=not train)(nn.LayerNorm()(maps))
    return nn.Dense(10)(nn.sigmoid(maps).reshape(len(images), -1))


def test_a_network_of_layers_of_flax_goes_through(keras) -> None:
  module = OfFlax()
  images = np.random.default_rng(0).standard_normal((3, 9, 9, 2)).astype(np.float32)
  shapes = jax.eval_shape(functools.partial(module.init, train=False), jax.random.key(0), images)
  variables = jax.tree_util.tree_map_with_path(random_values, dict(shapes))
  model = keras_model.make(trace(module, shapes, (9, 9, 2)), variables, name='network')
  expected = module.apply(variables, images, train=False)
  assert_close(model(images, training=False), np.asarray(expected))


def by_hand(keras: Any, name: str) -> Any:
  """The network as its article prints it, with dropout where it has some."""
  layers = keras.layers
  inputs = keras.Input(SHAPES.get(name, (32, 32, 3)))

  def conv(filters: int, size: int = 3, padding: str = 'same', activation: Any = 'relu') -> Any:
    return layers.Conv2D(filters, size, padding=padding, activation=activation)

  def dense(units: int, activation: Any = 'relu') -> Any:
    return layers.Dense(units, activation=activation)

  pool, drop, flatten = layers.MaxPooling2D, layers.Dropout, layers.Flatten
  if name == 'lr':
    body = [flatten()]
  elif name == 'mlp':
    body = [flatten(), dense(128, 'sigmoid'), dense(128, 'sigmoid')]
  elif name == 'cnn_simple':
    body = [conv(32, padding='valid'), pool(), conv(64, padding='valid'), pool(), flatten()]
  elif name == 'cnn_adv':
    body = []
    for filters in (32, 64, 128):
      body += [conv(filters), conv(filters, 1), pool(), layers.BatchNormalization(), drop(0.25)]
    body += [flatten(), dense(256), drop(0.5)]
  elif name in ('cnn_fchollet', 'tutorial_4layer', 'cnn_pkaur'):
    body = []
    for filters in (48, 96, 192) if name == 'cnn_pkaur' else (32, 64):
      body += [layers.Conv2D(filters, (3, 3), padding='same'), layers.Activation('relu')]
      body += [layers.Conv2D(filters, (3, 3)), layers.Activation('relu'), pool((2, 2)), drop(0.25)]
    body += [flatten(), dense(512), drop(0.5)]
    body += [dense(256), drop(0.5)] if name == 'cnn_pkaur' else []
  elif name == 'episode2':
    body = []
    for filters, rate in ((32, 0.3), (64, 0.3), (128, 0.4)):
      body += [conv(filters), pool(), drop(rate)]
    body += [flatten(), dense(80), drop(0.3)]
  elif name == 'tutorial_6layer':
    body = []
    for filters in (32, 64, 128):
      body += [conv(filters), drop(0.2), conv(filters), pool()]
    body += [flatten(), drop(0.2), dense(1024), drop(0.2)]
  elif name == 'lenet5':
    body = [conv(6, 5, 'valid', 'tanh'), layers.AveragePooling2D(2)]
    body += [conv(16, 5, 'valid', 'tanh'), layers.AveragePooling2D(2)]
    body += [flatten(), dense(120, 'tanh'), dense(84, 'tanh')]
  elif name == 'p5_dcnn':
    body = []
    for _ in range(2):
      body += [conv(32, padding='valid'), conv(32, padding='valid'), pool(), drop(0.25)]
    body += [flatten(), dense(256), drop(0.5)]
  else:
    assert name == 'catsdogs_scratch'
    body = [conv(32), pool(), conv(32), pool(), conv(64), pool()]
    body += [drop(0.25), flatten(), dense(64), drop(0.5)]
  return keras.Sequential([inputs, *body, layers.Dense(10, activation='softmax')])


def without_softmax(keras: Any, model: Any) -> Any:
  """The model up to its logits."""
  model.layers[-1].activation = keras.activations.linear
  return model


@pytest.mark.parametrize('name', [name for name in ARTICLES if name != 'p5_8140'])
def test_a_model_that_keras_trained_gives_the_same_here(keras, name, tmp_path) -> None:
  """Two updates from random weights; saved in each form; logits are compared."""
  target, _ = network_of(name)
  model = by_hand(keras, name)
  model.compile('adam', 'sparse_categorical_crossentropy')
  images = inputs_of(target, 8)
  for _ in range(2):
    model.train_on_batch(images, np.arange(8) % 10)
  model.save(tmp_path / 'a.keras')
  model.save(tmp_path / 'a.h5')
  model.save_weights(tmp_path / 'a.weights.h5')
  expected = np.asarray(without_softmax(keras, model)(images, training=False))
  for file in ('a.keras', 'a.h5', 'a.weights.h5'):
    found = keras_import.read(tmp_path / file, target)
    assert_close(logits_of(target, found.variables, images), expected)


def test_a_residual_network_written_in_keras_is_recognized(keras, tmp_path) -> None:
  """Branches are found by how layers are joined, whatever they are called and in which order."""
  layers = keras.layers
  target, _ = network_of('resnet18', widths=(4, 8), depth=8, block='bottleneck', shortcut='project')

  def norm(maps: Any, filters: int, size: int, strides: int = 1) -> Any:
    if strides > 1 and size > 1:
      maps = layers.ZeroPadding2D(size // 2)(maps)
    padding = 'same' if strides == 1 else 'valid'
    conv = layers.Conv2D(filters, size, strides=strides, padding=padding, use_bias=False)
    values = layers.BatchNormalization(epsilon=1e-5, momentum=0.9)
    return values(conv(maps))

  def relu(maps: Any) -> Any:
    return layers.ReLU()(maps)

  images = keras.Input((32, 32, 3))
  maps = relu(norm(images, 4, 3))
  for width, strides in ((4, 1), (8, 2)):
    shortcut = norm(maps, 4 * width, 1, strides)  # made before the branch, added behind it
    branch = relu(norm(relu(norm(maps, width, 1)), width, 3, strides))
    maps = relu(layers.add([norm(branch, 4 * width, 1), shortcut]))
  outputs = layers.Dense(10, activation='softmax')(layers.GlobalAveragePooling2D()(maps))
  model = keras.Model(images, outputs)
  model.compile('sgd', 'sparse_categorical_crossentropy')
  batch = inputs_of(target, 8)
  for _ in range(2):
    model.train_on_batch(batch, np.arange(8))
  model.save(tmp_path / 'a.keras')
  model.save(tmp_path / 'a.h5')
  model.save_weights(tmp_path / 'a.weights.h5')
  expected = np.asarray(without_softmax(keras, model)(batch, training=False))
  for file in ('a.keras', 'a.h5'):
    found = keras_import.read(tmp_path / file, target)
    assert_close(logits_of(target, found.variables, batch), expected)
  with pytest.raises(UserError, match='it holds weights alone, and the order of layers'):
    keras_import.read(tmp_path / 'a.weights.h5', target)


def classifier_of(target: imports.Target, variables: Any, normalize: Any) -> Classifier:
  return Classifier(
    run=pathlib.Path('nowhere'),
    config=target.config,
    module=target.module,
    variables=variables,
    step=0,
    class_names=tuple(f'class {number}' for number in range(10)),
    image_shape=target.image_shape,
    preprocessing=of_arrays(target.config.data, target.image_shape),
    normalize=normalize,
  )


def normalizations() -> dict[str, Any]:
  images = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3)).astype(np.uint8)
  mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
  return {
    'none': make_normalize((0.0,), (1.0,)),
    'given': make_normalize(mean, std),
    'channel': Statistics(np.float32(mean), np.float32(std)),
    'zca': zca(images, 0.1),
  }


@pytest.mark.parametrize('target_module', [keras_export, keras_h5_export])
@pytest.mark.parametrize('how', ['none', 'given', 'channel', 'zca'])
def test_preprocessing_is_inside_and_comes_back(keras, target_module, how, tmp_path) -> None:
  normalize = normalizations()[how]
  config = ConfigDict(
    {
      'model': {'name': 'conv_net', 'widths': (4,), 'block': ('conv3', 'max_pool')},
      'data': {
        'name': 'cifar10',
        'normalize': how if how in ('channel', 'zca') else 'given',
        'mean': (0.5, 0.4, 0.3) if how == 'given' else (0.0,),
        'std': (0.2, 0.3, 0.25) if how == 'given' else (1.0,),
        'channels': 3,
        'pad_to': 0,
      },
    }
  )
  target = imports.make_target(config, [f'class {number}' for number in range(10)], (8, 8, 3))
  variables = jax.tree_util.tree_map_with_path(random_values, dict(target.shapes))
  network = dataclasses.replace(classifier_of(target, variables, normalize))
  options = Options(output='probabilities')
  written = target_module.write(network, tmp_path, options)
  pixels = np.random.default_rng(1).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
  expected = jax.nn.softmax(logits_of(target, variables, np.asarray(normalize(jnp.array(pixels)))))
  assert_close(target_module.open_exported(tmp_path, options)(pixels), np.asarray(expected))
  found = keras_import.read(tmp_path / written.main, target)
  assert_same(found.variables, variables)
  if how in ('none', 'given'):
    assert found.normalization is None
  else:
    values = np.asarray(found.normalization(jnp.array(pixels)))
    assert_close(values, np.asarray(normalize(jnp.array(pixels))))


_ALONE = """
import sys

class Hidden:
  def __init__(self, finder):
    self.finder = finder
  def find_spec(self, name, path=None, target=None):
    if name.partition('.')[0] in ('tensorflow', 'cifar_jax', 'flax'):
      return None
    return self.finder.find_spec(name, path, target)

sys.meta_path = [Hidden(finder) for finder in sys.meta_path]
import keras
import numpy as np
model = keras.saving.load_model(sys.argv[1])
np.save(sys.argv[3], model.predict(np.load(sys.argv[2]), verbose=0))
assert not {'tensorflow', 'cifar_jax', 'flax'} & sys.modules.keys()
"""


@pytest.mark.parametrize('backend', ['jax', 'torch'])
@pytest.mark.parametrize('name', ['p5_8140', 'resnet20'])
def test_exports_open_without_this_package_and_without_tensorflow(
  keras, backend, name, tmp_path
) -> None:
  pytest.importorskip(backend)
  target, variables = network_of(name)
  network = classifier_of(target, variables, make_normalize((0.0,), (1.0,)))
  target.config.data.mean, target.config.data.std = (0.0,), (1.0,)
  keras_export.write(network, tmp_path, Options())
  pixels = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
  np.save(tmp_path / 'pixels.npy', pixels)
  arguments = [str(tmp_path / file) for file in ('model.keras', 'pixels.npy', 'logits.npy')]
  environment = {**os.environ, 'KERAS_BACKEND': backend, 'JAX_PLATFORMS': 'cpu'}
  subprocess.run(
    [sys.executable, '-c', _ALONE, *arguments], env=environment, cwd=tmp_path, check=True
  )
  expected = logits_of(target, variables, (pixels / 255).astype(np.float32))
  assert_close(np.load(tmp_path / 'logits.npy'), expected)
