"""Short trainings, update by update, beside Keras itself.

Weights, batches and rules are the same, dropout is off. The networks are written out here in Keras'
own layers. Keras 3 still has the rules of 2017: its Adam wants the epsilon of then, and `decay` has
become a schedule.

All 50 losses of `lr` and `cnn_simple` agree within 1e-4 of themselves. The deeper networks amplify
rounding: Keras beside Keras with weights changed in their last bits departs by 4e-4 within 50
updates of `tutorial_6layer` on batches of 32 from CIFAR-10. So theirs must agree within 1e-4 for as
many updates as rounding leaves alone, and within 1e-2 to the end. In double precision all 50 losses
of `tutorial_6layer` agree within 1e-4, too, and the first one with NumPy to 15 digits; Keras on
PyTorch keeps some of its own numbers in single precision, so it is 1e-8 away from the start.

Skipped without Keras and PyTorch or TensorFlow as its back end.
"""

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from cifar_jax.data import Split, Splits
from cifar_jax.trainer.build import build_trainer

UPDATES = 50
BATCH = 8

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings('ignore')]


@pytest.fixture(scope='module')
def keras() -> Any:
  backends = [name for name in ('torch', 'tensorflow') if importlib.util.find_spec(name)]
  if not backends:
    pytest.skip('Keras needs PyTorch or TensorFlow')
  os.environ.setdefault('KERAS_BACKEND', backends[0])
  return pytest.importorskip('keras')


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
  placed, order = trainer.place(data), trainer.epoch_order(jnp.int32(0))
  step = trainer.train_steps(1)
  means = []
  for _ in range(UPDATES):
    state, report = step(state, *placed, order, masked=False)
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


@pytest.mark.parametrize(
  ('name', 'exact_updates'),
  [('lr', UPDATES), ('cnn_simple', UPDATES), ('tutorial_4layer', 12), ('tutorial_6layer', 25)],
)
def test_losses_are_those_of_keras(keras: Any, name: str, exact_updates: int):
  data = random_data()
  start, order, found = our_training(config_of(name), data)
  expected = keras_losses(keras, name, data, start, order)
  np.testing.assert_allclose(found[:exact_updates], expected[:exact_updates], rtol=1e-4)
  np.testing.assert_allclose(found, expected, rtol=1e-2)


@pytest.mark.parametrize('name', ['lr', 'cnn_simple', 'tutorial_6layer'])
def test_losses_are_those_of_keras_in_double_precision(keras: Any, name: str):
  """On the first images of CIFAR-10 where they are at hand, all 50 losses."""
  del keras  # both libraries choose their precision when they start
  command = [sys.executable, '-m', 'tests.keras_in_double_precision', name]
  finished = subprocess.run(command, capture_output=True, text=True, timeout=600)
  assert finished.returncode == 0, finished.stderr
  found, expected = json.loads(finished.stdout.splitlines()[-1])
  assert len(found) == UPDATES
  np.testing.assert_allclose(found, expected, rtol=1e-4)
