"""One generator for the whole sequential family.

[[CONV -> ACT] x N -> POOL?] x M -> [DENSE -> ACT] x K -> logits

The pattern is Karpathy's (CS231n), quoted in "Understanding Deep Convolutional Neural Networks with
a practical use-case in Tensorflow and Keras" (Ahmed Besbes, 2017). M is `len(widths)`, so deeper
and wider is one override: --config.model.widths='(64,128,256,512)'.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cifar_jax import layers
from cifar_jax.layers import activation_function
from cifar_jax.models.layer_words import (
  ActivationWord,
  BatchNormWord,
  ConvWord,
  DenseWord,
  DropoutWord,
  FlattenWord,
  GlobalAveragePoolWord,
  LayerWord,
  PoolWord,
  format_word,
  parse_word,
)
from cifar_jax.models.registry import register
from cifar_jax.utils.errors import UserError

_ONLY_IN_BLOCKS = (ConvWord,)
_ONLY_IN_HEAD = (DenseWord, FlattenWord, GlobalAveragePoolWord)


@register('conv_net')
class ConvNet(nn.Module):
  """A sequential network written in the words of `layer_words`.

  Attributes:
    num_classes: number of logits.
    widths: filters of the convolutions of each block; () has no blocks.
    block: the words of every block, or one tuple of words for each block.
    head: the words after the last block; must make vectors of the maps.
    activation: of every convolution and dense layer whose word names none.
    dtype: compute dtype; parameters and logits are float32.
    axis_name: mapped axis over which BatchNorm shares its statistics (`jax.pmap`), or None.
  """

  num_classes: int
  widths: tuple[int, ...] = ()
  block: tuple[str, ...] | tuple[tuple[str, ...], ...] = ()
  head: tuple[str, ...] = ('flatten',)
  activation: str = 'relu'
  dtype: Any = jnp.float32
  axis_name: str | None = None

  def __post_init__(self) -> None:
    """Reads the words, so that a mistake in them is found when the network is made.

    Raises:
      UserError: a field cannot be read.
    """
    try:
      activation_function(self.activation)
    except UserError as error:
      raise UserError(f'--config.model.activation: {error}') from None
    parse_blocks(self.widths, self.block)
    parse_head(self.head)
    super().__post_init__()

  @nn.compact
  def __call__(self, images: jax.Array, train: bool, mask: jax.Array | None = None) -> jax.Array:
    """Maps float32 [B, H, W, C] to logits float32 [B, num_classes].

    Args:
      images: the batch.
      train: whether dropout drops (rng stream 'dropout') and BatchNorm uses the statistics of the
        batch.
      mask: bool [B], the rows that count in those statistics; None for all.

    Raises:
      UserError: the images are too small for the network, or the head does not make vectors.
    """
    maps = images.astype(self.dtype)
    blocks = parse_blocks(self.widths, self.block)
    for number, (width, words) in enumerate(zip(self.widths, blocks, strict=True), start=1):
      for word in words:
        try:
          maps = self._layer(word, maps, train, mask, width)
        except UserError as error:
          raise UserError(
            f'--config.model.block: block {number} of {len(blocks)}, {format_word(word)!r}: '
            f"{error}; use fewer --config.model.widths, less pooling, 'same' convolutions or "
            'larger images'
          ) from None
    for word in parse_head(self.head):
      try:
        maps = self._layer(word, maps, train, mask)
      except UserError as error:
        raise UserError(f'--config.model.head: {format_word(word)!r}: {error}') from None
    if maps.ndim != 2:
      raise UserError(
        f'--config.model.head: the head leaves maps of the shape {maps.shape[1:]}; '
        "add 'flatten' or 'global_average_pool'"
      )
    return layers.Dense(self.num_classes, dtype=self.dtype, name='logits')(maps).astype(jnp.float32)

  def _layer(
    self,
    word: LayerWord,
    inputs: jax.Array,
    train: bool,
    mask: jax.Array | None,
    width: int = 0,
  ) -> jax.Array:
    """Applies the layer that a word names; its parameters belong to this module."""
    match word:
      case ConvWord():
        return layers.Conv(
          round(width * word.width_factor),
          word.kernel,
          word.stride,
          word.padding.upper(),
          word.dilation,
          activation=word.activation or self.activation,
          dtype=self.dtype,
        )(inputs)
      case PoolWord():
        pool = layers.MaxPool if word.kind == 'max_pool' else layers.AveragePool
        return pool(word.window, word.stride, word.padding.upper())(inputs)
      case DenseWord():
        if inputs.ndim != 2:
          raise UserError("its input are maps; put 'flatten' or 'global_average_pool' before it")
        activation = word.activation or self.activation
        return layers.Dense(word.units, activation=activation, dtype=self.dtype)(inputs)
      case DropoutWord():
        return layers.Dropout(word.rate)(inputs, deterministic=not train)
      case BatchNormWord():
        norm = layers.BatchNorm(axis_name=self.axis_name, dtype=self.dtype)
        return norm(inputs, use_running_average=not train, mask=mask)
      case FlattenWord():
        return layers.Flatten()(inputs)
      case GlobalAveragePoolWord():
        if inputs.ndim != 4:
          raise UserError('its input are vectors already; leave it out')
        return layers.GlobalAveragePool()(inputs)
      case ActivationWord():
        return layers.Activation(word.activation)(inputs)


def parse_blocks(
  widths: Sequence[int], block: Sequence[str] | Sequence[Sequence[str]]
) -> tuple[tuple[LayerWord, ...], ...]:
  """Returns the words of each block, as many blocks as widths.

  Raises:
    UserError: a width or a word cannot be read, or there is not one tuple of words for each block.
  """
  for width in _sequence('widths', widths, '(32,64)'):
    if isinstance(width, bool) or not isinstance(width, int) or width < 1:
      raise UserError(
        f'--config.model.widths: {width!r} must be a whole number of 1 or more, one for each block'
      )
  words = _sequence('block', block, "('conv3','max_pool')")
  if not words and widths:
    raise UserError(
      f'--config.model.block is empty, but --config.model.widths asks for {len(widths)} blocks; '
      "write the layers of a block, as in ('conv3','max_pool')"
    )
  if any(isinstance(word, (tuple, list)) for word in words):
    if len(words) != len(widths):
      raise UserError(
        f'--config.model.block describes {len(words)} blocks, but --config.model.widths has '
        f'{len(widths)} widths; give one tuple of layers for each width, or one for all'
      )
    templates = [_sequence('block', template, "('conv3','max_pool')") for template in words]
  else:
    templates = [words] * len(widths) if widths else [words]
  blocks = tuple(_parse_words('block', template, _ONLY_IN_HEAD) for template in templates)
  for width, template in zip(widths, blocks, strict=False):
    for word in template:
      if isinstance(word, ConvWord) and not _whole(width * word.width_factor):
        raise UserError(
          f'--config.model.block: {format_word(word)!r} in a block of width {width} would have '
          f'{width * word.width_factor:g} filters; change the factor or --config.model.widths'
        )
  return blocks if widths else ()


def parse_head(head: Sequence[str]) -> tuple[LayerWord, ...]:
  """Returns the words of the head.

  Raises:
    UserError: one cannot be read.
  """
  return _parse_words('head', _sequence('head', head, "('flatten','dense 256')"), _ONLY_IN_BLOCKS)


def _parse_words(
  field: str, words: Sequence[object], elsewhere: tuple[type, ...]
) -> tuple[LayerWord, ...]:
  parsed = []
  for text in words:
    try:
      word = parse_word(text)
    except UserError as error:
      raise UserError(f'--config.model.{field}: {error}') from None
    if isinstance(word, elsewhere):
      other = 'head' if field == 'block' else 'block'
      raise UserError(f'--config.model.{field}: {text!r} belongs into --config.model.{other}')
    parsed.append(word)
  return tuple(parsed)


def _sequence(field: str, value: object, example: str) -> Sequence[Any]:
  if not isinstance(value, (tuple, list)):
    raise UserError(f'--config.model.{field} must be a tuple such as {example}, not {value!r}')
  return value


def _whole(number: float) -> bool:
  return number >= 1 and abs(number - round(number)) < 1e-6
