"""ConvNeXt: "A ConvNet for the 2020s" (Liu et al., 2022), with patches that fit small images."""

from typing import Any

import flax.linen as nn

from cifar_jax import layers
from cifar_jax.models.fields import POSITIVE_INT, WIDTHS, Network, drop_path_rate
from cifar_jax.models.patches import layer_norm, logits, small_normal
from cifar_jax.models.registry import register
from cifar_jax.schema.options import option
from cifar_jax.utils.array_types import ClassLogits, Images, Maps
from cifar_jax.utils.errors import UserError

_SCALE = 1e-6  # initial value of the factor of each channel of a branch


@register('convnext')
class ConvNeXt(Network):
  """Patches, then stages of blocks, each a 7x7 depthwise convolution and two dense layers."""

  depths: tuple[int, ...] = option((3, 3, 9, 3), WIDTHS)('Number of blocks of each stage.')
  widths: tuple[int, ...] = option((96, 192, 384, 768), WIDTHS)(
    'Channels of each stage; a 2x2 convolution halves the maps between them.'
  )
  patch: int = option(2, POSITIVE_INT)(
    'Height and width of the patches of the stem; 4 in the paper, for images of 224x224.'
  )
  drop_path: float = drop_path_rate(0.0)

  def check(self) -> None:
    """Raises UserError, as `Network.check` describes."""
    if len(self.depths) != len(self.widths):
      raise UserError(
        f'--config.model.depths={self.depths} and --config.model.widths={self.widths} must have '
        'one number each for each stage'
      )

  @nn.compact
  def __call__(self, images: Images, train: bool) -> ClassLogits:
    rates = iter(layers.linear_drop_path_rates(self.drop_path, sum(self.depths)))
    maps = images.astype(self.dtype)
    for stage, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True)):
      window = 2 if stage else self.patch
      if stage:
        maps = layer_norm(self.dtype)(maps)
      maps = layers.Conv(
        width, window, window, 'VALID', kernel_init=small_normal, dtype=self.dtype
      )(maps)
      if not stage:
        maps = layer_norm(self.dtype)(maps)
      for number in range(depth):
        name = f'stage{stage}_block{number}'
        maps = ConvNeXtBlock(next(rates), self.dtype, name=name)(maps, train)
    vectors = layer_norm(self.dtype)(layers.GlobalAveragePool()(maps))
    return logits(vectors, self.num_classes, self.dtype)


class ConvNeXtBlock(nn.Module):
  """x + scale * dense(gelu(dense(norm(depthwise 7x7(x))))).

  Attributes:
    drop_path: Rate at which the branch is dropped.
    dtype: Dtype of the computation.
  """

  drop_path: float
  dtype: Any

  @nn.compact
  def __call__(self, maps: Maps, train: bool) -> Maps:
    channels = maps.shape[-1]
    branch = layers.Conv(
      channels, 7, feature_group_count=channels, kernel_init=small_normal, dtype=self.dtype
    )(maps)
    branch = layer_norm(self.dtype)(branch)
    branch = layers.Dense(
      4 * channels, kernel_init=small_normal, activation='gelu', dtype=self.dtype
    )(branch)
    branch = layers.Dense(channels, kernel_init=small_normal, dtype=self.dtype)(branch)
    scale = self.param('scale', nn.initializers.constant(_SCALE), (channels,))
    branch = branch * scale.astype(branch.dtype).reshape(1, 1, 1, channels)
    return maps + layers.DropPath(self.drop_path)(branch, deterministic=not train)
