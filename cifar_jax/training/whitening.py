"""A first convolution whose filters come from the data: they make the pixels uncorrelated."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util
from ml_collections import ConfigDict

from cifar_jax.utils.array_types import Filters, Images
from cifar_jax.utils.errors import UserError


def whitening_kernel(
  images: Images, window: tuple[int, int], features: int, epsilon: float
) -> Filters:
  """Filters v / sqrt(l + epsilon) for the eigenvectors v of the patches' second moment, and -v.

  The moment is not centered. The filters of the largest eigenvalues l come first, then, in the same
  order, their negations: an activation that cuts negative values off loses nothing. Page (2019)
  put such a layer into a fast network; this form is that of airbench94 (Jordan, 2024).

  Args:
    images: Images normalized as for training.
    window: The height and width of a patch.
    features: The number of filters, even, at most twice the values in a patch.
    epsilon: A number added to the eigenvalues.
  """
  height, width = window
  channels = images.shape[-1]
  rows, columns = images.shape[1] - height + 1, images.shape[2] - width + 1
  patches = jnp.concatenate(
    [images[:, y : y + rows, x : x + columns] for y in range(height) for x in range(width)], axis=-1
  ).reshape(-1, height * width * channels)
  product = jnp.matmul(patches.T, patches, precision=jax.lax.Precision.HIGHEST)
  eigenvalues, eigenvectors = jnp.linalg.eigh(product / len(patches))
  filters = eigenvectors / jnp.sqrt(eigenvalues + epsilon)[None]
  strongest = filters[:, ::-1][:, : features // 2]
  return jnp.concatenate([strongest, -strongest], axis=1).reshape(height, width, channels, features)


def make_whitening(
  whitening_config: ConfigDict, normalize: Callable[[jax.Array], jax.Array]
) -> Callable[[Any, jax.Array], Any] | None:
  """What `config.whitening` asks for; None if nothing.

  Args:
    whitening_config: `layer`, the path of a convolution in the parameters ('': none); `images`, how
      many of the first training images to look at; `epsilon`.
    normalize: uint8 [B, H, W, C] -> float32.

  Returns:
    (params, images uint8 [N, H, W, C]) -> params with the kernel of the layer replaced. It raises
    UserError if there is no such layer or its kernel has another shape than whitening needs.
  """
  path = whitening_config.layer
  if not path:
    return None

  def whiten(params: Any, images: jax.Array) -> Any:
    arrays = traverse_util.flatten_dict(params, sep='/', keep_empty_nodes=True)
    kernels = {name: a for name, a in arrays.items() if name.endswith('/kernel') and a.ndim == 4}
    if f'{path}/kernel' not in kernels:
      convolutions = ', '.join(name.removesuffix('/kernel') for name in kernels) or 'none'
      raise UserError(
        f'--config.whitening.layer={path} is no convolution of the network; it has {convolutions}'
      )
    height, width, channels, features = kernels[f'{path}/kernel'].shape
    most = 2 * height * width * channels
    if channels != images.shape[-1] or features % 2 or features > most:
      raise UserError(
        f'--config.whitening.layer={path}: whitening needs a convolution of the images with an '
        f'even number of filters, at most {most}; this one has {features} over {channels} channels'
      )
    whitened = whitening_kernel(
      normalize(images), (height, width), features, whitening_config.epsilon
    )
    return traverse_util.unflatten_dict({**arrays, f'{path}/kernel': whitened}, sep='/')

  return whiten
