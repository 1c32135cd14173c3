"""What a network consists of: counts, the ASCII drawing, tables.

The ASCII drawing is that of keras-sequential-ascii (Piotr Migdał, 2017), which "Starting deep
learning hands-on: image classification on CIFAR-10" (Piotr Migdał, deepsense.ai, 2017) prints for
each of its networks.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax

from cifar_jax.analysis import flops, tracing
from cifar_jax.analysis.tracing import NO_ACTIVATION, LayerRecord


def _by_rank(*kinds: str) -> list[str]:
  return [f'{kind}{rank}D' for kind in kinds for rank in (1, 2, 3)]


# What stands between the name and the rule of a layer's line, five characters each.
SYMBOLS = {
  **dict.fromkeys(_by_rank('Conv', 'Convolution'), ' \\|/ '),
  'Conv2DTranspose': ' /|\\ ',
  'SeparableConv2D': ' /|\\x',
  **dict.fromkeys(_by_rank('MaxPooling'), 'Y max'),
  **dict.fromkeys(_by_rank('AveragePooling'), 'Y avg'),
  **dict.fromkeys(_by_rank('GlobalMaxPooling'), 'Y^max'),
  **dict.fromkeys(_by_rank('GlobalAveragePooling'), 'Y^avg'),
  'Dense': 'XXXXX',
  'Flatten': '|||||',
  'Dropout': ' | ||',
  'BatchNormalization': ' μ|σ ',  # noqa: RUF001
  'Activation': ' f|  ',
  'Embedding': 'emb |',
}


class ParameterCount(NamedTuple):
  """Numbers of scalars in a network."""

  trainable: int
  non_trainable: int

  @property
  def total(self) -> int:
    """Their sum, which Keras prints as 'Total params'."""
    return self.trainable + self.non_trainable


@dataclasses.dataclass(frozen=True)
class NetworkSummary:
  """What a network consists of, counted once for all who ask.

  Attributes:
    layers: The layers in the order of their application, the softmax of the loss the last.
    macs: The number of multiply-adds of the forward pass of one image.
  """

  layers: tuple[LayerRecord, ...]
  parameters: ParameterCount
  macs: int

  @property
  def drawing(self) -> str:
    """The network layer by layer, see `keras_ascii`."""
    return keras_ascii(self.layers)

  def __str__(self) -> str:
    """'7 layers, 42,442 parameters', counted as Keras counts them."""
    return f'{len(self.layers)} layers, {self.parameters.total:,} parameters'


def describe(
  module: nn.Module, image_shape: Sequence[int], activation: str = 'softmax'
) -> NetworkSummary:
  """Traces a classifier twice: for its layers, and for its arithmetic as XLA's own operations.

  Args:
    activation: What makes probabilities of its outputs.

  Raises:
    UserError: the network cannot take such images.
  """
  layers = tracing.trace(module, image_shape, activation)
  return NetworkSummary(layers, _parameters_of(layers), flops.macs(module, image_shape))


def parameter_count(variables: Mapping[str, Any]) -> ParameterCount:
  """Counts the scalars of a network's variables; only those in 'params' are trainable."""
  trainable = _size(variables.get('params', {}))
  return ParameterCount(trainable, _size(dict(variables)) - trainable)


def parameter_overview(variables: Mapping[str, Any]) -> str:
  """Returns clu's table of all arrays: name, shape, dtype, size, mean and standard deviation."""
  from clu import parameter_overview as clu_overview

  return clu_overview.get_parameter_overview(dict(variables))


def merge_activations(records: Sequence[LayerRecord]) -> list[LayerRecord]:
  """Gives each separate activation to the layer before it, if that has none yet."""
  merged: list[LayerRecord] = []
  for record in records:
    if record.kind == 'Activation' and merged and merged[-1].activation in NO_ACTIVATION:
      merged[-1] = dataclasses.replace(merged[-1], activation=record.activation)
    else:
      merged.append(record)
  return merged


def keras_ascii(records: Sequence[LayerRecord]) -> str:
  """Draws the layers, as `trace` returns them, in the format of keras-sequential-ascii: lines
  without a line feed at the end.
  """
  total = sum(record.parameters for record in records)
  layers = merge_activations(records)
  gap = ' ' * 11
  lines = [f'{gap}OPERATION{gap}DATA DIMENSIONS   WEIGHTS(N)   WEIGHTS(%)', '']
  lines.append(_data_line('Input', layers[0].input_shape))
  for layer in layers:
    kind = '' if layer.kind == 'Activation' else layer.kind
    share = 100 * layer.parameters / total if total else 0.0
    symbol = SYMBOLS.get(layer.kind, '?????')
    lines.append(f'{kind:>20}   {symbol} {"-" * 19}{layer.parameters:>10}   {share:>5.1f}%')
    activation = '' if layer.activation in NO_ACTIVATION else layer.activation
    lines.append(_data_line(activation, layer.output_shape))
  return '\n'.join(lines)


def keras_table(records: Sequence[LayerRecord]) -> str:
  """Draws the table of Keras' `model.summary()`, with the names that the parameters have here:
  lines without a line feed at the end.
  """
  rows = [('Layer (type)', 'Output Shape', 'Param #')]
  for record in records:
    name = f'{record.name} ({record.kind})' if record.name else f'({record.kind})'
    shape = ', '.join(str(size) for size in (None, *record.output_shape))
    rows.append((name, f'({shape})', str(record.parameters)))
  # The columns of Keras (29, 26 and 10 wide), wider where a text needs it.
  widths = [
    max(least, *(len(row[column]) + 1 for row in rows)) for column, least in enumerate((29, 26, 10))
  ]
  texts = [
    ''.join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows
  ]
  thin, thick = '_' * sum(widths), '=' * sum(widths)
  lines = [thin, texts[0], thick]
  for text in texts[1:]:
    lines += [text, thin]
  count = _parameters_of(records)
  lines[-1] = thick
  lines += [
    f'Total params: {count.total:,}',
    f'Trainable params: {count.trainable:,}',
    f'Non-trainable params: {count.non_trainable:,}',
    thin,
  ]
  return '\n'.join(lines)


def _parameters_of(layers: Sequence[LayerRecord]) -> ParameterCount:
  return ParameterCount(
    sum(layer.trainable for layer in layers), sum(layer.non_trainable for layer in layers)
  )


def _data_line(name: str, shape: tuple[int, ...]) -> str:
  dimensions = ' '.join(f'{size:>4}' for size in shape) if len(shape) > 1 else f'{shape[0]:>9}'
  return f'{name:>20}   #####   {dimensions}'


def _size(tree: Any) -> int:
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))
