"""The target keras-h5: as the target keras, in the older form, that of Keras 1 and 2."""

import pathlib

from cifar_jax.exchange import keras_export
from cifar_jax.exchange.targets import Options, Predict, Written
from cifar_jax.predict.classifier import Classifier

MAIN = 'model.h5'


def write(network: Classifier, folder: pathlib.Path, options: Options) -> Written:
  """As `keras_export.write`."""
  return keras_export.write_as(MAIN, network, folder, options)


def open_exported(folder: pathlib.Path, options: Options) -> Predict:
  """As `keras_export.open_exported`."""
  return keras_export.open_from(folder / MAIN)
