"""Networks in Keras: Keras gives the logits to compare with, and opens what is exported."""

import dataclasses
import functools
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

from cifar_jax.augment.normalize import Statistics, make_normalize, zca
from cifar_jax.data.preprocessing import of_arrays
from cifar_jax.exchange import imports, keras_export, keras_h5_export, keras_import, keras_model
from cifar_jax.exchange.keras_graph import trace
from cifar_jax.exchange.targets import Options
from cifar_jax.predict.classifier import Classifier
from cifar_jax.utils.errors import UserError
from tests.helpers import REPOSITORY
from tests.helpers.keras_networks import (
  ARTICLES,
  assert_close,
  assert_same,
  inputs_of,
  logits_of,
  network_of,
  random_values,
)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings('ignore')]

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


CASES: dict[str, tuple[str, dict[str, Any]]] = {
  **{name: (name, {}) for name in ARTICLES},
  **{name: (name, changes) for name, changes in FAMILIES.items()},
  **{name: ('cnn_adv', changes) for name, changes in WORDS.items()},
}


@pytest.fixture(scope='module')
def keras() -> Any:
  pytest.importorskip('keras')
  pytest.importorskip('h5py')
  return keras_model.keras()


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


_TALKING = """
import os
os.write(2, b'I0000 port.cc: operations are on')
"""


@pytest.mark.parametrize('target', ['keras', 'keras-h5'])
def test_an_installed_tensorflow_is_not_heard(keras, target, tmp_path) -> None:
  """Its library writes to the terminal as it is imported, whatever is set."""
  (tmp_path / 'tensorflow.py').write_text(_TALKING)
  path = os.pathsep.join(map(str, (tmp_path, REPOSITORY)))
  environment = {**os.environ, 'PYTHONPATH': path, 'KERAS_BACKEND': 'jax', 'JAX_PLATFORMS': 'cpu'}
  words = ['export', 'zoo:lr', f'--to={target}', '--images=0', f'--out={tmp_path / "out"}']
  done = subprocess.run(
    [sys.executable, '-m', 'cifar_jax', *words],
    env=environment,
    capture_output=True,
    text=True,
    check=True,
  )
  assert 'exported' in done.stdout
  assert done.stderr == ''
