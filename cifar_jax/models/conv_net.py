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
from cifar_jax.models.fields import INTS, SPECS, Network, check_activation
from cifar_jax.models.layer_specs import (
  ActivationSpec,
  BatchNormSpec,
  ConvSpec,
  DenseSpec,
  DropoutSpec,
  FlattenSpec,
  GlobalAveragePoolSpec,
  LayerSpec,
  PoolSpec,
  format_spec,
  parse_spec,
)
from cifar_jax.models.registry import register
from cifar_jax.schema.constraints import TEXT
from cifar_jax.schema.options import option
from cifar_jax.utils.array_types import ClassLogits, Maps, Mask
from cifar_jax.utils.errors import UserError

_ONLY_IN_BLOCKS = (ConvSpec,)
_ONLY_IN_HEAD = (DenseSpec, FlattenSpec, GlobalAveragePoolSpec)


@register('conv_net')
class ConvNet(Network):
  """A sequential network whose layers are written in words, which docs/networks.md explains."""

  widths: tuple[int, ...] = option((), INTS)(
    'Number of filters of the convolutions in each block; (): no blocks.'
  )
  block: tuple[str, ...] | tuple[tuple[str, ...], ...] = option((), SPECS)(
    'The words of every block, or one tuple of words for each block.'
  )
  head: tuple[str, ...] = option(('flatten',), SPECS)(
    'The words after the last block, which must turn feature maps into vectors.'
  )
  activation: str = option('relu', TEXT)(
    'Activation of every convolution and dense layer whose word names none.'
  )

  def check(self) -> None:
    """Raises UserError, as `Network.check` describes."""
    check_activation(self.activation)
    parse_blocks(self.widths, self.block)
    parse_head(self.head)

  @nn.compact
  def __call__(self, images: Maps, train: bool, mask: Mask | None = None) -> ClassLogits:
    """Raises UserError where images are too small for the network, or the head makes no vectors."""
    maps = images.astype(self.dtype)
    blocks = parse_blocks(self.widths, self.block)
    for number, (width, specs) in enumerate(zip(self.widths, blocks, strict=True), start=1):
      for spec in specs:
        try:
          maps = self._layer(spec, maps, train, mask, width)
        except UserError as error:
          raise UserError(
            f'--config.model.block: block {number} of {len(blocks)}, {format_spec(spec)!r}: '
            f"{error}; use fewer --config.model.widths, less pooling, 'same' convolutions or "
            'larger images'
          ) from None
    for spec in parse_head(self.head):
      try:
        maps = self._layer(spec, maps, train, mask)
      except UserError as error:
        raise UserError(f'--config.model.head: {format_spec(spec)!r}: {error}') from None
    if maps.ndim != 2:
      raise UserError(
        f'--config.model.head: the head leaves maps of the shape {maps.shape[1:]}; '
        "add 'flatten' or 'global_average_pool'"
      )
    return layers.Dense(self.num_classes, dtype=self.dtype, name='logits')(maps).astype(jnp.float32)

  def _layer(
    self,
    spec: LayerSpec,
    inputs: jax.Array,
    train: bool,
    mask: jax.Array | None,
    width: int = 0,
  ) -> jax.Array:
    """Applies the layer that a spec names; its parameters belong to this module."""
    match spec:
      case ConvSpec():
        return layers.Conv(
          round(width * spec.width_factor),
          spec.kernel,
          spec.stride,
          spec.padding.upper(),
          spec.dilation,
          activation=spec.activation or self.activation,
          dtype=self.dtype,
        )(inputs)
      case PoolSpec():
        pool = layers.MaxPool if spec.kind == 'max_pool' else layers.AveragePool
        return pool(spec.window, spec.stride, spec.padding.upper())(inputs)
      case DenseSpec():
        if inputs.ndim != 2:
          raise UserError("its input are maps; put 'flatten' or 'global_average_pool' before it")
        activation = spec.activation or self.activation
        return layers.Dense(spec.units, activation=activation, dtype=self.dtype)(inputs)
      case DropoutSpec():
        return layers.Dropout(spec.rate)(inputs, deterministic=not train)
      case BatchNormSpec():
        norm = layers.BatchNorm(dtype=self.dtype)
        return norm(inputs, use_running_average=not train, mask=mask)
      case FlattenSpec():
        return layers.Flatten()(inputs)
      case GlobalAveragePoolSpec():
        if inputs.ndim != 4:
          raise UserError('its input are vectors already; leave it out')
        return layers.GlobalAveragePool()(inputs)
      case ActivationSpec():
        return layers.Activation(spec.activation)(inputs)


def parse_blocks(
  widths: Sequence[int], block: Sequence[str] | Sequence[Sequence[str]]
) -> tuple[tuple[LayerSpec, ...], ...]:
  """Returns the specs of each block, as many blocks as widths.

  Raises:
    UserError: A width or a spec cannot be read, or there is not one tuple of specs for each block.
  """
  for width in _sequence('widths', widths, '(32,64)'):
    if isinstance(width, bool) or not isinstance(width, int) or width < 1:
      raise UserError(
        f'--config.model.widths: {width!r} must be a whole number of 1 or more, one for each block'
      )
  specs = _sequence('block', block, "('conv3','max_pool')")
  if not specs and widths:
    raise UserError(
      f'--config.model.block is empty, but --config.model.widths asks for {len(widths)} blocks; '
      "write the layers of a block, as in ('conv3','max_pool')"
    )
  if any(isinstance(spec, (tuple, list)) for spec in specs):
    if len(specs) != len(widths):
      raise UserError(
        f'--config.model.block describes {len(specs)} blocks, but --config.model.widths has '
        f'{len(widths)} widths; give one tuple of layers for each width, or one for all'
      )
    templates = [_sequence('block', template, "('conv3','max_pool')") for template in specs]
  else:
    templates = [specs] * len(widths) if widths else [specs]
  blocks = tuple(_parse_specs('block', template, _ONLY_IN_HEAD) for template in templates)
  for width, template in zip(widths, blocks, strict=False):
    for spec in template:
      if isinstance(spec, ConvSpec) and not _whole(width * spec.width_factor):
        raise UserError(
          f'--config.model.block: {format_spec(spec)!r} in a block of width {width} would have '
          f'{width * spec.width_factor:g} filters; change the factor or --config.model.widths'
        )
  return blocks if widths else ()


def parse_head(head: Sequence[str]) -> tuple[LayerSpec, ...]:
  """Returns the specs of the head.

  Raises:
    UserError: One cannot be read.
  """
  return _parse_specs('head', _sequence('head', head, "('flatten','dense 256')"), _ONLY_IN_BLOCKS)


def _parse_specs(
  field: str, specs: Sequence[object], elsewhere: tuple[type, ...]
) -> tuple[LayerSpec, ...]:
  parsed = []
  for text in specs:
    try:
      spec = parse_spec(text)
    except UserError as error:
      raise UserError(f'--config.model.{field}: {error}') from None
    if isinstance(spec, elsewhere):
      other = 'head' if field == 'block' else 'block'
      raise UserError(f'--config.model.{field}: {text!r} belongs into --config.model.{other}')
    parsed.append(spec)
  return tuple(parsed)


def _sequence(field: str, value: object, example: str) -> Sequence[Any]:
  if not isinstance(value, (tuple, list)):
    raise UserError(f'--config.model.{field} must be a tuple such as {example}, not {value!r}')
  return value


def _whole(number: float) -> bool:
  return number >= 1 and abs(number - round(number)) < 1e-6
