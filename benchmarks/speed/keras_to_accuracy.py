"""How long Keras takes to an accuracy with the network of a config, on real images.

  python -m benchmarks keras_to_accuracy --config=configs/cnn_adv.py --target=0.83 --seconds=600

Trains with `model.fit` on TensorFlow (`--backend=jax`: on JAX), an epoch at a time, evaluates the
test set after each, and stops at the target or after the seconds given, whichever comes first.
Seconds run from the start of the process, imports and data included. No augmentation. A row for
each epoch is appended to the CSV file as it ends, so that a run that was stopped says how far it
came.
"""

import argparse
import os
import pathlib
import time
from typing import Any

from benchmarks import STARTED, command_line, tables
from cifar_jax import config as configs
from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parser = parsing.add_verb(verbs, 'keras_to_accuracy', run, 'accuracy of Keras by time', __doc__)
  command_line.add_options(parser, config='configs/cnn_adv.py', out='keras_to_accuracy')
  fraction, positive = command_line.number(float, 0, 1), command_line.number(float, 0)
  backends = ('tensorflow', 'jax')
  parser.add_argument(
    '--backend', default='tensorflow', choices=backends, help='default: tensorflow'
  )
  parser.add_argument('--target', type=fraction, default=0.83, help='default: 0.83')
  parser.add_argument('--seconds', type=positive, default=600, help='default: 600')
  parser.add_argument(
    '--seed', type=int, default=0, help='of weights, order and dropout; default: 0'
  )


def run(arguments: argparse.Namespace) -> None:
  """Trains, and appends to the table."""
  os.environ['KERAS_BACKEND'] = arguments.backend
  import keras
  import numpy as np

  from benchmarks.speed.systems import keras_networks
  from cifar_jax import data

  config = configs.load(arguments.config)
  dataset = data.load(config.data)
  train, test = dataset.train, dataset.test
  keras.utils.set_random_seed(arguments.seed)
  model = keras_networks.build(config)
  scaled = np.asarray(train.images, np.float32) / 255
  test_images = np.asarray(test.images, np.float32) / 255
  accuracy, epoch, seconds = 0.0, 0, 0.0
  while accuracy < arguments.target and seconds < arguments.seconds:
    model.fit(scaled, train.labels, config.batch_size, epochs=1, verbose=0)
    guesses = model.predict(test_images, 1000, verbose=0).argmax(-1)
    accuracy, epoch = float((guesses == test.labels).mean()), epoch + 1
    seconds = time.perf_counter() - STARTED
    row = {
      'config': pathlib.Path(arguments.config).stem,
      'system': f'keras {keras.__version__} on {arguments.backend}',
      'seed': arguments.seed,
      'epoch': epoch,
      'seconds': round(seconds, 1),
      'test_accuracy': round(accuracy, 4),
      'machine': tables.machine(),
    }
    tables.append(arguments.out, [row])
    print(f'epoch {epoch}: {100 * accuracy:.2f} % after {seconds:.1f} s', flush=True)
