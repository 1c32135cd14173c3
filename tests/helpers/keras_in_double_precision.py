"""Trains a system here and in Keras, both in float64, and prints [our losses, those of Keras].

  python -m tests.helpers.keras_in_double_precision tutorial_6layer

On the first images of CIFAR-10 in batches of 32 where $CIFAR_JAX_DATA has them.
"""

import json
import os
import sys

from tests.helpers import double_precision  # isort: skip  # before Flax

import jax
import keras
import numpy as np

from cifar_jax.data import Split, load
from configs import base
from tests.helpers.keras_training import (
  UPDATES,
  config_of,
  keras_losses,
  our_training,
  random_data,
)

BATCH = 32  # of the articles


def cifar_or_random() -> Split:
  """As many images as the updates take."""
  if 'CIFAR_JAX_DATA' not in os.environ:
    return random_data()
  train = load(base.get_config().data).train
  return Split(train.images[: UPDATES * BATCH], train.labels[: UPDATES * BATCH])


def main(name: str) -> None:
  assert double_precision
  keras.config.set_floatx('float64')
  data = cifar_or_random()
  start, order, found = our_training(config_of(name), data)
  assert jax.tree.leaves(start)[0].dtype == np.float64
  expected = keras_losses(keras, name, data, start, order)
  print(json.dumps([found.tolist(), expected.tolist()]))


if __name__ == '__main__':
  main(sys.argv[1])
