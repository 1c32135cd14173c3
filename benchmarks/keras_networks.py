"""The networks of `cifar_jax.models.conv_net` built of Keras 3 layers, for comparison."""

import keras
from ml_collections import ConfigDict

from cifar_jax.models.conv_net import parse_blocks, parse_head
from cifar_jax.models.layer_words import (
  BatchNormWord,
  ConvWord,
  DenseWord,
  DropoutWord,
  FlattenWord,
  LayerWord,
  PoolWord,
)


def build(config: ConfigDict) -> keras.Model:
  """Returns the network, compiled with the optimiser of the config."""
  model = keras.Sequential([keras.Input((32, 32, 3))])
  blocks = parse_blocks(config.model.widths, config.model.block)
  for width, words in zip(config.model.widths, blocks, strict=True):
    for word in words:
      model.add(_layer(word, config.model.activation, width))
  for word in parse_head(config.model.head):
    model.add(_layer(word, config.model.activation))
  model.add(keras.layers.Dense(10))
  optimizers = {'keras_adam': keras.optimizers.Adam, 'keras_rmsprop': keras.optimizers.RMSprop}
  model.compile(
    optimizers[config.optimizer.name](config.optimizer.learning_rate),
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
  )
  return model


def _layer(word: LayerWord, activation: str, width: int = 0) -> keras.layers.Layer:
  match word:
    case ConvWord(stride=1, dilation=1):
      return keras.layers.Conv2D(
        round(width * word.width_factor),
        word.kernel,
        padding=word.padding,
        activation=word.activation or activation,
      )
    case PoolWord(kind='max_pool'):
      return keras.layers.MaxPooling2D(word.window, word.stride, word.padding)
    case BatchNormWord():
      return keras.layers.BatchNormalization()
    case DropoutWord():
      return keras.layers.Dropout(word.rate)
    case DenseWord():
      return keras.layers.Dense(word.units, activation=word.activation or activation)
    case FlattenWord():
      return keras.layers.Flatten()
  raise ValueError(f'no Keras layer for {word}')
