"""Keras's own models here: Keras gives the logits to compare with.

Models of the articles are written here by hand in Keras, as the articles have them.
"""

from typing import Any

import numpy as np
import pytest

from cifar_jax.exchange import keras_import, keras_model
from cifar_jax.utils.errors import UserError
from tests.helpers.keras_networks import (
  ARTICLES,
  SHAPES,
  assert_close,
  inputs_of,
  logits_of,
  network_of,
)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings('ignore')]


@pytest.fixture(scope='module')
def keras() -> Any:
  pytest.importorskip('keras')
  pytest.importorskip('h5py')
  return keras_model.keras()


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
