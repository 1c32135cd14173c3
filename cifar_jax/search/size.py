"""How large the network of a genome is, before it is trained, and how large it may be."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

from cifar_jax.search.genome import Genome
from cifar_jax.utils.errors import UserError


class Size(NamedTuple):
  """The scalars of a network, running statistics included, and its multiply-adds for an image."""

  parameters: int
  macs: int


@dataclasses.dataclass(frozen=True)
class Limits:
  """The largest network that is tried, in the order of `Size`; 0: no limit."""

  parameters: int = 0
  macs: int = 0

  def __post_init__(self) -> None:
    """Raises UserError, naming the flag, unless both are numbers of something."""
    for name, value in vars(self).items():
      if value < 0:
        raise UserError(f'--max_{name}={value}: give 0 for no limit, or the largest that is tried')

  def allows(self, size: Size) -> bool:
    """Whether a network of a size is tried."""
    return all(
      not most or value <= most for value, most in zip(size, vars(self).values(), strict=True)
    )


NO_LIMITS = Limits()


def size_of(genome: Genome, image_shape: Sequence[int], num_classes: int) -> Size:
  """The size of a network, by the formulas of its layers.

  `analysis.layer_table.describe` finds the same, by a trace of a fifth of a second: too long where
  dozens of networks may have to be drawn until one is small enough.

  Args:
    genome: It fits the images, see `fitted`.
    image_shape: [H, W, C].
    num_classes: The number of logits.
  """
  height, width, channels = image_shape
  parameters = macs = 0
  for block in genome.blocks:
    for convolution in block.convolutions:
      if convolution.padding == 'valid':
        height, width = (side - convolution.kernel + 1 for side in (height, width))
      filters = round(block.width * convolution.width_factor)
      weights = convolution.kernel**2 * channels * filters
      parameters += weights + filters
      macs += height * width * weights
      channels = filters
      parameters += 4 * channels if block.batch_norm == 'convolution' else 0
    if block.pool != 'none':
      height, width = height // 2, width // 2
    parameters += 4 * channels if block.batch_norm == 'block' else 0
  inputs = channels * (height * width if genome.vectors == 'flatten' else 1)
  for units in (*(layer.units for layer in genome.dense), num_classes):
    parameters += (inputs + 1) * units
    macs += inputs * units
    inputs = units
  return Size(parameters, macs)
