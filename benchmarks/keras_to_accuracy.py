"""How long Keras takes to an accuracy with the network of a config, on real images.

  python -m benchmarks.keras_to_accuracy --config=configs/cnn_adv.py --target=0.83 --seconds=600

Trains with `model.fit` on TensorFlow (`--backend=jax`: on JAX), an epoch at a time, evaluates the
test set after each, and stops at the target or after the seconds given, whichever comes first.
Seconds run from the start of the process, imports and data included. No augmentation. A row for
each epoch is written as it ends, so that a run that was stopped says how far it came.
"""

import os
import pathlib
import time
from collections.abc import Sequence

from absl import app, flags

_START = time.perf_counter()

_CONFIG = flags.DEFINE_string('config', 'configs/cnn_adv.py', 'Path of the config file.')
_BACKEND = flags.DEFINE_enum('backend', 'tensorflow', ['tensorflow', 'jax'], 'That of Keras.')
_TARGET = flags.DEFINE_float('target', 0.83, 'Test accuracy to stop at.', 0, 1)
_SECONDS = flags.DEFINE_float('seconds', 600, 'After which the last epoch ends.', lower_bound=0)
_SEED = flags.DEFINE_integer('seed', 0, 'Of initial weights, order and dropout.')
_OUT = flags.DEFINE_string('out', 'results/keras_to_accuracy.csv', 'CSV file to append to.')


def main(argv: Sequence[str]) -> None:
  """Trains as the flags say."""
  del argv
  os.environ['KERAS_BACKEND'] = _BACKEND.value
  import keras
  import numpy as np

  from benchmarks import keras_networks, tables
  from benchmarks.workers import processor
  from cifar_jax import data
  from cifar_jax.config import parse as configs

  config = configs.load(_CONFIG.value, [])
  dataset = data.load(config.data)
  train, test = dataset.train, dataset.test
  keras.utils.set_random_seed(_SEED.value)
  model = keras_networks.build(config)
  scaled = np.asarray(train.images, np.float32) / 255
  test_images = np.asarray(test.images, np.float32) / 255
  accuracy, epoch, seconds = 0.0, 0, 0.0
  while accuracy < _TARGET.value and seconds < _SECONDS.value:
    model.fit(scaled, train.labels, config.batch_size, epochs=1, verbose=0)
    guesses = model.predict(test_images, 1000, verbose=0).argmax(-1)
    accuracy, epoch = float((guesses == test.labels).mean()), epoch + 1
    seconds = time.perf_counter() - _START
    row = {
      'config': pathlib.Path(_CONFIG.value).stem,
      'system': f'keras {keras.__version__} on {_BACKEND.value}',
      'seed': _SEED.value,
      'epoch': epoch,
      'seconds': round(seconds, 1),
      'test_accuracy': round(accuracy, 4),
      'machine': f'{processor()}, {os.cpu_count()} cores',
    }
    tables.append(pathlib.Path(_OUT.value), [row])
    print(f'epoch {epoch}: {100 * accuracy:.2f} % after {seconds:.1f} s', flush=True)


if __name__ == '__main__':
  app.run(main)
