"""Images of any size and number of channels as inputs of a network, when they are asked for."""

import dataclasses
from typing import Any

import numpy as np

from cifar_jax.data.image_file import fit_arrays
from cifar_jax.data.preprocessing import Preprocessing
from cifar_jax.utils.errors import UserError


@dataclasses.dataclass(frozen=True)
class FittedImages:
  """Stands for the array uint8 [N, H, W, C] of what a network takes.

  Nothing is computed before it is indexed, so that images in a mapped file or a stream stay there.

  Attributes:
    images: The images uint8 [M, height, width, channels] of a set, as `data.Examples` has them.
    preprocessing: How the network's images became inputs; see `image_file.fit_arrays`.
    rows: The indices of those that are used, int64 [N].
  """

  images: Any
  preprocessing: Preprocessing
  rows: np.ndarray

  @property
  def shape(self) -> tuple[int, int, int, int]:
    """(N, H, W, C)."""
    return (len(self.rows), *self.preprocessing.shape)

  @property
  def dtype(self) -> np.dtype:
    """uint8."""
    return np.dtype(np.uint8)

  def __len__(self) -> int:
    return len(self.rows)

  def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
    return fit_arrays(np.asarray(self.images[self.rows[index]]), self.preprocessing)


def check_channels(channels: int, preprocessing: Preprocessing, source: str) -> None:
  """Raises UserError unless images of so many channels can become inputs of a network."""
  wanted = preprocessing.source_channels
  if channels != wanted and not {channels, wanted} <= {1, 3, 4}:
    raise UserError(
      f'{source} holds images of {channels} channels, of which none of the {wanted} channels that '
      'the run was trained on can be made'
    )
