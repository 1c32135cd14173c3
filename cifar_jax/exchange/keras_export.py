"""The target keras: one .keras file of Keras's own layers, which Keras 3 opens on any backend."""

import logging
import pathlib
import re

import numpy as np

from cifar_jax.exchange import exported, keras_model
from cifar_jax.exchange.keras_front import front_of
from cifar_jax.exchange.keras_graph import trace
from cifar_jax.exchange.targets import Options, Predict, Written
from cifar_jax.predict.classifier import Classifier

MAIN = 'model.keras'


def write(network: Classifier, folder: pathlib.Path, options: Options) -> Written:
  """Writes the network into an empty folder.

  Raises:
    UserError: Keras lacks a layer, which is named, or is not installed.
  """
  return write_as(MAIN, network, folder, options)


def open_exported(folder: pathlib.Path, options: Options) -> Predict:
  """Opens the network in Keras."""
  return open_from(folder / MAIN)


def write_as(main: str, network: Classifier, folder: pathlib.Path, options: Options) -> Written:
  """Writes a file in the form that its suffix says; as `write`."""
  nodes = trace(network.module, network.variables, network.image_shape)
  inside = options.preprocessing == 'inside'
  front = front_of(exported.statistics(network), network.image_shape) if inside else ()
  name = re.sub(r'\W', '_', str(network.config.model.get('name')), flags=re.ASCII)
  logger = logging.getLogger('absl')
  level = logger.level
  logger.setLevel(logging.ERROR)  # Keras advises against .h5 at each
  try:
    with keras_model.without_tensorflow():
      model = keras_model.make(
        nodes,
        network.variables,
        front,
        name=name,
        softmax=options.output == 'probabilities',
      )
      model.save(folder / main)
  finally:
    logger.setLevel(level)
  fixed = [layer.name for layer in model.layers if not layer.trainable and layer.weights]
  fixed = [name for name in fixed if name.startswith(('conv2d_', 'preprocessing_'))]
  takes = 'pixels 0..255, uint8 or float32' if inside else 'normalized float32'
  notes = [
    f'keras.saving.load_model({main!r}) gives a model of {takes} [N, '
    f'{", ".join(map(str, network.image_shape))}]; layers with weights are named as here'
  ]
  if fixed:
    notes.append(f'{", ".join(fixed)}: weights that are constants, not to be trained')
  return Written(main, tuple(notes), {'backend': keras_model.keras().backend.backend()})


def open_from(file: pathlib.Path) -> Predict:
  """Opens a file in Keras, without what trained it; Python code in a file is refused by Keras."""
  with keras_model.without_tensorflow():
    model = keras_model.keras().saving.load_model(file, compile=False, safe_mode=True)

  def predict(images: np.ndarray) -> np.ndarray:
    with keras_model.without_tensorflow():
      return np.asarray(model.predict_on_batch(images))

  return predict
