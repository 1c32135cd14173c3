"""Trains a system update by update, here and in Keras."""

import importlib
import importlib.util
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from cifar_jax.data import Split, Splits
from cifar_jax.trainer.build import build_trainer

UPDATES = 50
BATCH = 8


def keras_model(keras: Any, name: str) -> Any:
  """The system in Keras, as its article writes it, without dropout."""
  layers, optimizers = keras.layers, keras.optimizers
  inverse_time = optimizers.schedules.InverseTimeDecay

  def conv(filters: int, padding: str) -> Any:
    return layers.Conv2D(filters, (3, 3), padding=padding, activation='relu')

  pool = layers.MaxPooling2D
  if name == 'lr':
    body, optimizer = [], optimizers.Adam(0.001, epsilon=1e-8)
  elif name == 'cnn_simple':
    body = [conv(32, 'valid'), pool(), conv(64, 'valid'), pool()]
    optimizer = optimizers.Adam(0.001, epsilon=1e-8)
  elif name == 'tutorial_4layer':
    body = [
      conv(32, 'same'),
      conv(32, 'valid'),
      pool(),
      conv(64, 'same'),
      conv(64, 'valid'),
      pool(),
    ]
    body += [layers.Flatten(), layers.Dense(512, activation='relu')]
    optimizer = optimizers.SGD(inverse_time(0.1, 1, 1e-6), nesterov=True)
  else:
    body = []
    for filters in (32, 64, 128):
      body += [conv(filters, 'same'), conv(filters, 'same'), pool()]
    bounded = layers.Dense(1024, activation='relu', kernel_constraint=keras.constraints.MaxNorm(3))
    body += [layers.Flatten(), bounded]
    optimizer = optimizers.SGD(inverse_time(0.01, 1, 1e-6), momentum=0.9)
  end = [layers.Flatten(), layers.Dense(10, activation='softmax')]
  model = keras.Sequential([keras.Input((32, 32, 3)), *body, *end])
  model.compile(optimizer, loss='sparse_categorical_crossentropy', metrics=['accuracy'])
  return model


def config_of(name: str) -> ConfigDict:
  """The system's own config without the dropout."""
  config = importlib.import_module(f'configs.{name}').get_config()

  def without_dropout(words: Any) -> Any:
    kept = [word for word in words if not str(word).startswith('dropout')]
    return tuple(without_dropout(word) if isinstance(word, tuple) else word for word in kept)

  config.model.block = without_dropout(config.model.block)
  config.model.head = without_dropout(config.model.head)
  return config


def random_data() -> Split:
  """As many images as the updates take; the label lightens one corner."""
  generator = np.random.default_rng(0)
  labels = generator.integers(0, 10, UPDATES * BATCH)
  images = generator.integers(0, 200, (len(labels), 32, 32, 3))
  images[:, :16, :16] += (5 * labels)[:, None, None, None]
  return Split(images.astype(np.uint8), labels.astype(np.int32))


def our_training(config: ConfigDict, data: Split) -> Any:
  """The initial parameters, the order of the examples, and the loss of each update."""
  names = tuple('0123456789')
  splits = Splits(data, data, data, names, 'random', 'built in', True, True)
  config.batch_size, config.devices = len(data.labels) // UPDATES, 1
  trainer = build_trainer(config, splits)
  state = trainer.init()
  start = jax.device_get(state.params)
  keys, placed = trainer.keys, (data.images, data.labels)
  order = trainer.epoch_order(keys, jnp.int32(0))
  step = trainer.train_steps(1)
  means = []
  for _ in range(UPDATES):
    state, report = step(keys, state, *placed, order, masked=False)
    means.append(float(report.loss))
  sums = np.cumsum(np.ones(UPDATES)) * means  # a report has the mean of the epoch so far
  return start, np.asarray(order), np.diff(sums, prepend=0.0)


def set_weights(model: Any, params: Any) -> None:
  """Gives the Keras model our initial parameters; both lay out kernels in the same way."""
  names = [f'{kind}_{number}' for kind in ('Conv', 'Dense') for number in range(9)]
  names = [name for name in names if name in params] + ['logits']
  with_weights = [layer for layer in model.layers if layer.weights]
  for layer, name in zip(with_weights, names, strict=True):
    layer.set_weights([np.asarray(params[name]['kernel']), np.asarray(params[name]['bias'])])


def keras_losses(keras: Any, name: str, data: Split, start: Any, order: np.ndarray) -> np.ndarray:
  """The loss of each update by Keras, from the same start with the same batches."""
  model = keras_model(keras, name)
  set_weights(model, start)
  losses = []
  for rows in order.reshape(UPDATES, -1):
    images = data.images[rows].astype(keras.config.floatx()) / 255
    result = model.train_on_batch(images, data.labels[rows], return_dict=True)
    losses.append(float(result['loss']))
    model.reset_metrics()  # which are means otherwise
  assert np.abs(np.diff(losses)).min() > 0
  return np.asarray(losses)
