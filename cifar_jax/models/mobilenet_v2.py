"""MobileNetV2: "Inverted Residuals and Linear Bottlenecks" (Sandler et al., 2018).

For images of 32x32 the stem and the first stage that would halve the maps do not, so that the last
maps are 4x4.
"""

from typing import Any

import flax.linen as nn

from cifar_jax.models.conv_units import ConvNorm, Logits
from cifar_jax.models.fields import FACTOR, Network
from cifar_jax.models.registry import register
from cifar_jax.schema.constraints import BELOW_ONE
from cifar_jax.schema.options import option
from cifar_jax.utils.array_types import ClassLogits, Images, Maps, Mask, NewMaps

# Expansion, filters, blocks, stride of the first one (1 where the paper has 2, in the second row).
STAGES = (
  (1, 16, 1, 1),
  (6, 24, 2, 1),
  (6, 32, 3, 2),
  (6, 64, 4, 2),
  (6, 96, 3, 1),
  (6, 160, 3, 2),
  (6, 320, 1, 1),
)
_STEM, _LAST = 32, 1280


@register('mobilenet_v2')
class MobileNetV2(Network):
  """Inverted residual blocks: narrow maps, widened for a depthwise convolution."""

  width: float = option(1.0, FACTOR)(
    'Factor by which all numbers of filters are multiplied, rounded to multiples of 8; the last '
    'layer never has fewer than 1280.'
  )
  dropout: float = option(0.2, BELOW_ONE)('Rate of dropout before the logits.')

  @nn.compact
  def __call__(self, images: Images, train: bool, mask: Mask | None = None) -> ClassLogits:
    common = {'activation': 'relu6', 'dtype': self.dtype}
    maps = images.astype(self.dtype)
    maps = ConvNorm(multiple_of_8(_STEM * self.width), **common, name='stem')(maps, train, mask)
    for stage, (expansion, filters, count, strides) in enumerate(STAGES):
      for number in range(count):
        maps = InvertedResidual(
          multiple_of_8(filters * self.width),
          expansion,
          1 if number else strides,
          self.dtype,
          name=f'stage{stage}_block{number}',
        )(maps, train, mask)
    last = multiple_of_8(_LAST * max(self.width, 1.0))
    maps = ConvNorm(last, 1, **common, name='last')(maps, train, mask)
    return Logits(self.num_classes, self.dropout, self.dtype, name='logits')(maps, train)


class InvertedResidual(nn.Module):
  """Expand, convolve each channel by itself, project without activation.

  Attributes:
    features: Number of output channels.
    expansion: Channels between, as a multiple of the input channels.
    strides: Step of the depthwise convolution.
    dtype: Dtype of the computation.
  """

  features: int
  expansion: int
  strides: int
  dtype: Any

  @nn.compact
  def __call__(self, maps: Maps, train: bool, mask: Mask | None) -> NewMaps:
    """Maps [B, H, W, C] to [B, H / strides, W / strides, features]."""
    channels = maps.shape[-1]
    inner = channels * self.expansion
    branch = maps
    if self.expansion > 1:
      branch = ConvNorm(inner, 1, activation='relu6', dtype=self.dtype)(branch, train, mask)
    depthwise = ConvNorm(inner, 3, self.strides, inner, 'relu6', dtype=self.dtype)
    branch = depthwise(branch, train, mask)
    branch = ConvNorm(self.features, 1, activation='linear', dtype=self.dtype)(branch, train, mask)
    return maps + branch if self.strides == 1 and channels == self.features else branch


def multiple_of_8(filters: float) -> int:
  """The nearest multiple of 8, at least 8, that is not more than a tenth below the number."""
  rounded = max(8, int(filters + 4) // 8 * 8)
  return rounded + 8 if rounded < 0.9 * filters else rounded
