"""The networks of `conv_net` and `airbench_net` built of Keras 3 layers, for comparison."""

import keras
from ml_collections import ConfigDict

from cifar_jax.models.conv_net import parse_blocks, parse_head
from cifar_jax.models.layer_specs import (
  BatchNormSpec,
  ConvSpec,
  DenseSpec,
  DropoutSpec,
  FlattenSpec,
  LayerSpec,
  PoolSpec,
)


def build(config: ConfigDict) -> keras.Model:
  """Returns the network, compiled with the optimizer of the config (no parameter groups)."""
  build = {'conv_net': _conv_net, 'airbench_net': _airbench_net}[config.model.name]
  model = keras.Sequential([keras.Input((32, 32, 3)), *build(config), keras.layers.Dense(10)])
  model.compile(
    _optimizer(config.optimizer), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
  )
  return model


def _optimizer(options: ConfigDict) -> keras.optimizers.Optimizer:
  rate = options.learning_rate
  match options.name:
    case 'keras_adam':
      return keras.optimizers.Adam(rate)
    case 'keras_rmsprop':
      return keras.optimizers.RMSprop(rate)
    case 'keras_sgd' | 'sgd':
      return keras.optimizers.SGD(rate, options.momentum, bool(options.nesterov))
  raise ValueError(f'no Keras optimizer for {options.name}')


def _conv_net(config: ConfigDict) -> list[keras.layers.Layer]:
  """Returns the layers of a `conv_net` before the logits."""
  found = []
  blocks = parse_blocks(config.model.widths, config.model.block)
  for width, words in zip(config.model.widths, blocks, strict=True):
    found += [_layer(word, config, width) for word in words]
  return found + [_layer(word, config) for word in parse_head(config.model.head)]


def _airbench_net(config: ConfigDict) -> list[keras.layers.Layer]:
  """Returns the layers of an airbench network before the logits; `residual` is not built."""
  if config.model.residual or config.model.whitening_stride != 1:
    raise ValueError('airbench networks with residuals or strides are not built here')
  window = config.model.whitening_window
  found = [keras.layers.Conv2D(6 * window**2, window, activation=config.model.activation)]
  for width, count in zip(config.model.widths, config.model.convolutions, strict=True):
    for number in range(count):
      found.append(keras.layers.Conv2D(width, 3, padding='same', use_bias=False))
      if number == 0:
        found.append(keras.layers.MaxPooling2D())
      found.append(keras.layers.BatchNormalization(momentum=config.model.momentum, scale=False))
      found.append(keras.layers.Activation(config.model.activation))
  return [*found, keras.layers.GlobalMaxPooling2D()]


def _layer(word: LayerSpec, config: ConfigDict, width: int = 0) -> keras.layers.Layer:
  activation = config.model.activation
  bound = config.optimizer.max_norm
  constraint = None if bound is None else keras.constraints.MaxNorm(bound)
  match word:
    case ConvSpec(stride=1, dilation=1):
      return keras.layers.Conv2D(
        round(width * word.width_factor),
        word.kernel,
        padding=word.padding,
        activation=word.activation or activation,
        kernel_constraint=constraint,
      )
    case PoolSpec(kind='max_pool'):
      return keras.layers.MaxPooling2D(word.window, word.stride, word.padding)
    case BatchNormSpec():
      return keras.layers.BatchNormalization()
    case DropoutSpec():
      return keras.layers.Dropout(word.rate)
    case DenseSpec():
      return keras.layers.Dense(
        word.units, activation=word.activation or activation, kernel_constraint=constraint
      )
    case FlattenSpec():
      return keras.layers.Flatten()
  raise ValueError(f'no Keras layer for {word}')
