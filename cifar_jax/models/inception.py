"""Inception networks for small images.

`googlenet` has the nine modules of "Going Deeper with Convolutions" (Szegedy et al., 2015), each
convolution with BatchNorm, after one 3x3 convolution instead of the stem that would shrink images
of 32x32 to nothing. `small_inception` is the network of "Understanding Deep Learning Requires
Rethinking Generalization" (Zhang et al., 2017).
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from cifar_jax import layers
from cifar_jax.models.conv_units import ConvNorm, Logits
from cifar_jax.models.fields import FACTOR, Network
from cifar_jax.models.registry import register
from cifar_jax.schema.constraints import BELOW_ONE
from cifar_jax.schema.options import option
from cifar_jax.utils.array_types import ClassLogits, Images, Mask

# Filters of a module: 1x1; 1x1 before 3x3, 3x3; 1x1 before 5x5, 5x5; 1x1 after the pool. A max-pool
# stands between the stages.
_GOOGLENET = (
  ((64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64)),
  (
    (192, 96, 208, 16, 48, 64),
    (160, 112, 224, 24, 64, 64),
    (128, 128, 256, 24, 64, 64),
    (112, 144, 288, 32, 64, 64),
    (256, 160, 320, 32, 128, 128),
  ),
  ((256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)),
)
# Filters of the 1x1 and the 3x3 convolution of a module, or of the 3x3 one that halves the maps.
_SMALL = (32, 32), (32, 48), 80, (112, 48), (96, 64), (80, 80), (48, 96), 96, (176, 160), (176, 160)
_SMALL_STEM = 96


@register('googlenet')
class GoogLeNet(Network):
  """Nine inception modules of four branches."""

  width: float = option(1.0, FACTOR)('Factor by which all numbers of filters are multiplied.')
  dropout: float = option(0.4, BELOW_ONE)('Rate of dropout before the logits; the paper uses 0.4.')

  @nn.compact
  def __call__(self, images: Images, train: bool, mask: Mask | None = None) -> ClassLogits:
    conv = _conv_norm(self, train, mask)
    maps = conv(192, 3)(images.astype(self.dtype))
    for stage, modules in enumerate(_GOOGLENET):
      if stage:
        maps = layers.MaxPool(3, 2, 'SAME')(maps)
      for one, before3, three, before5, five, pooled in modules:
        branches = (
          conv(one, 1)(maps),
          conv(three, 3)(conv(before3, 1)(maps)),
          conv(five, 5)(conv(before5, 1)(maps)),
          conv(pooled, 1)(layers.MaxPool(3, 1, 'SAME')(maps)),
        )
        maps = jnp.concatenate(branches, axis=-1)
    return Logits(self.num_classes, self.dropout, self.dtype, name='logits')(maps, train)


@register('small_inception')
class SmallInception(Network):
  """Eight inception modules of two branches, and two that halve the maps."""

  width: float = option(1.0, FACTOR)('Factor by which all numbers of filters are multiplied.')

  @nn.compact
  def __call__(self, images: Images, train: bool, mask: Mask | None = None) -> ClassLogits:
    conv = _conv_norm(self, train, mask, use_scale=False)  # as in the paper's count
    maps = conv(_SMALL_STEM, 3)(images.astype(self.dtype))
    for filters in _SMALL:
      if isinstance(filters, int):
        branches = (conv(filters, 3, 2)(maps), layers.MaxPool(3, 2, 'SAME')(maps))
      else:
        branches = (conv(filters[0], 1)(maps), conv(filters[1], 3)(maps))
      maps = jnp.concatenate(branches, axis=-1)
    return Logits(self.num_classes, dtype=self.dtype, name='logits')(maps, train)


def _conv_norm(
  network: GoogLeNet | SmallInception,
  train: bool,
  mask: jax.Array | None,
  use_scale: bool = True,
) -> Callable[..., Callable[[jax.Array], jax.Array]]:
  """Returns (filters, kernel size, strides) -> a layer of the network that is being built."""

  def make(filters: int, kernel_size: int, strides: int = 1) -> Callable[[jax.Array], jax.Array]:
    unit = ConvNorm(
      max(round(network.width * filters), 1),
      kernel_size,
      strides,
      use_scale=use_scale,
      dtype=network.dtype,
    )
    return lambda maps: unit(maps, train, mask)

  return make
