"""The network of airbench: "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (Keller Jordan, 2024).

A convolution that whitens patches of the image, then groups of 3x3 convolutions with BatchNorm, one
max-pool each, a global max-pool and a linear layer without bias. It descends from the networks of
Page (2019) and of hlb-CIFAR10 (Balsam, 2023).
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from cifar_jax import layers
from cifar_jax.layers.initializers import (
  dirac_init,
  torch_default_bias_init,
  torch_default_init,
  unit_std_init,
)
from cifar_jax.models.fields import INTS, POSITIVE_INT, Network, check_activation
from cifar_jax.models.registry import register
from cifar_jax.schema.constraints import BELOW_ONE, BOOLEAN, POSITIVE, TEXT, one_of
from cifar_jax.schema.options import option
from cifar_jax.utils.array_types import ClassLogits, Images, Maps, Mask, NewMaps
from cifar_jax.utils.errors import UserError


@register('airbench_net')
class AirbenchNet(Network):
  """A whitening layer, groups of convolutions and a linear head, as in `configs/airbench94.py`."""

  widths: tuple[int, ...] = option((64, 256, 256), INTS)(
    'Number of filters of the convolutions in each group.'
  )
  convolutions: tuple[int, ...] = option((2, 2, 2), INTS)('Number of convolutions in each group.')
  residual: bool = option(False, BOOLEAN)(
    'Adds what left the first convolution of a group, BatchNorm and activation included, to what '
    'leaves its last one, before the activation.'
  )
  whitening_window: int = option(2, POSITIVE_INT)(
    'Height and width of the first convolution, which has twice as many filters as a window has '
    'values; `config.whitening` gives it a kernel.'
  )
  whitening_stride: int = option(1, POSITIVE_INT)('Stride of the first convolution.')
  whitening_bias: str = option('zeros', one_of('zeros', 'uniform'))(
    "Initial bias of the first convolution, 'zeros' or 'uniform' (PyTorch's default)."
  )
  head: str = option('uniform', one_of('uniform', 'unit'))(
    "Initial kernel of the linear layer, 'uniform' (PyTorch's default) or 'unit', the same with "
    'a standard deviation of 1.'
  )
  logit_scale: float = option(1 / 9, POSITIVE)('Factor by which logits are multiplied.')
  activation: str = option('gelu', TEXT)('Activation after each BatchNorm and after the whitening.')
  whitening_activation: str = option('', TEXT, since=2)(
    "Activation after the whitening; '': the same as elsewhere."
  )
  momentum: float = option(0.6, BELOW_ONE)(
    "Share of the old value in each update of BatchNorm's running statistics."
  )
  epsilon: float = option(1e-12, POSITIVE)('What BatchNorm adds to the variance.')

  def check(self) -> None:
    """Raises UserError, as `Network.check` describes."""
    numbers = (*self.convolutions, *self.widths)
    if len(self.convolutions) != len(self.widths) or min(numbers, default=0) < 1:
      raise UserError(
        f'--config.model.widths={self.widths} and --config.model.convolutions='
        f'{self.convolutions} must be whole numbers from 1 up, one of each for each group'
      )
    check_activation(self.activation)
    if self.whitening_activation:
      check_activation(self.whitening_activation, 'whitening_activation')

  @nn.compact
  def __call__(self, images: Images, train: bool, mask: Mask | None = None) -> ClassLogits:
    """Raises UserError where the images are too small for the network."""
    patch = self.whitening_window**2 * images.shape[-1]
    maps = layers.Conv(
      2 * patch,
      self.whitening_window,
      self.whitening_stride,
      padding='VALID',
      kernel_init=torch_default_init(),
      bias_init=_BIASES[self.whitening_bias](patch),
      activation=self.whitening_activation or self.activation,
      dtype=self.dtype,
      name='whitening',
    )(images.astype(self.dtype))
    for number, (width, count) in enumerate(zip(self.widths, self.convolutions, strict=True)):
      maps = Group(
        width,
        count,
        self.residual,
        self.activation,
        self.momentum,
        self.epsilon,
        self.dtype,
        name=f'Group_{number}',
      )(maps, train, mask)
    vectors = layers.Flatten()(layers.MaxPool(maps.shape[1:3])(maps))
    logits = layers.Dense(
      self.num_classes,
      use_bias=False,
      kernel_init=_HEADS[self.head],
      dtype=self.dtype,
      name='logits',
    )(vectors)
    return self.logit_scale * logits.astype(jnp.float32)


class Group(nn.Module):
  """3x3 convolutions of one width; the map is halved after the first.

  Attributes: as `AirbenchNet`, but `width` and `count` are those of this group.
  """

  width: int
  count: int
  residual: bool
  activation: str
  momentum: float
  epsilon: float
  dtype: Any

  @nn.compact
  def __call__(self, maps: Maps, train: bool, mask: Mask | None) -> NewMaps:
    """Maps [B, H, W, C] to [B, H // 2, W // 2, width]."""
    first = maps
    for number in range(self.count):
      maps = layers.Conv(
        self.width,
        use_bias=False,
        kernel_init=dirac_init(torch_default_init()),
        dtype=self.dtype,
      )(maps)
      if number == 0:
        maps = layers.MaxPool()(maps)
      maps = layers.BatchNorm(
        momentum=self.momentum,
        epsilon=self.epsilon,
        use_scale=False,
        dtype=self.dtype,
      )(maps, use_running_average=not train, mask=mask)
      if self.residual and 0 < number == self.count - 1:
        maps = maps + first
      maps = layers.Activation(self.activation)(maps)
      if number == 0:
        first = maps
    return maps


_BIASES: dict[str, Callable[[int], nn.initializers.Initializer]] = {
  'zeros': lambda fan_in: nn.initializers.zeros_init(),
  'uniform': torch_default_bias_init,
}
_HEADS: dict[str, nn.initializers.Initializer] = {
  'uniform': torch_default_init(),
  'unit': unit_std_init(torch_default_init()),
}
