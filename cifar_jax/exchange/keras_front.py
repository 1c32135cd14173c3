"""The preprocessing in front of a model of Keras's: Rescaling, Normalization, whitening.

A network here takes normalized images; a model of Keras's may take pixels 0..255 and normalize them
itself. Both directions are here, so that one undoes the other.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from cifar_jax.augment.normalize import Statistics
from cifar_jax.exchange.imports import Target
from cifar_jax.exchange.keras_config import Op
from cifar_jax.exchange.keras_layers import Step, Weight, rescaling
from cifar_jax.utils.errors import UserError

_LEAST_STD = 1e-7  # what Keras divides by at least
_SAME = 1e-5  # how far normalizations may be apart and still be one


def front_of(normalization: Statistics, image_shape: Sequence[int]) -> list[Step]:
  """The layers that make of pixels 0..255 what a network takes."""
  steps = [rescaling(1 / 255)]
  mean, variance = (
    np.asarray(values, np.float64) ** power
    for values, power in ((normalization.mean, 1), (normalization.std, 2))
  )
  centered = []
  if np.any(mean) or np.any(variance != 1):
    options = {'axis': -1, 'mean': mean.tolist(), 'variance': variance.tolist()}
    centered = [Step('Normalization', options)]
  if normalization.whitening is None:
    return steps + centered
  size = len(mean)
  kernel = Weight('kernel', (size, size), constant=np.asarray(normalization.whitening, np.float32))
  return [
    *steps,
    Step('Flatten'),
    *centered,
    Step('Dense', {'units': size, 'use_bias': False}, (kernel,)),
    Step('Reshape', {'target_shape': tuple(image_shape)}),
  ]


def statistics_of(
  front: Sequence[Op],
  arrays: Mapping[str, Mapping[str, np.ndarray]],
  target: Target,
  remarks: list[str],
) -> Statistics | None:
  """What a file normalizes images by; None where it says nothing, or what the config says.

  Args:
    front: What stands before the network in a file, from the images on.
    arrays: Those of the layers of the file.
    target: The network.
    remarks: Sentences for a person, to which one is added.

  Raises:
    UserError: that is no normalization of the networks here.
  """
  ops = [op for op in front if op.kind not in ('Identity', 'InputLayer')]
  if not ops:
    remarks.append('it does not normalize its images: that of the config is taken')
    return None
  channels = target.image_shape[2]
  factor, offset = np.ones(1), np.zeros(1)
  whitening = None
  try:
    for op in ops:
      own = arrays.get(op.layer, {})
      if op.kind in ('Flatten', 'Reshape'):
        continue
      if whitening is not None:
        raise UserError(f'its layer {op.layer!r} normalizes images that are whitened already')
      if op.kind == 'Rescaling':
        scale, shift = (_numbers(op, key, {}) for key in ('scale', 'offset'))
        factor, offset = factor * scale, offset * scale + shift
      elif op.kind == 'Normalization':
        mean, variance = (_numbers(op, key, own) for key in ('mean', 'variance'))
        std = np.maximum(np.sqrt(np.maximum(variance, 0)), _LEAST_STD)
        factor, offset = factor / std, (offset - mean) / std
      else:
        whitening = _matrix(op, own, math.prod(target.image_shape))
    factor = 255 * factor  # of the images in 0..1
    size = channels if whitening is None else len(whitening)
    with np.errstate(all='ignore'):  # what comes of a 0 is refused below
      mean = np.broadcast_to(-offset / factor, (size,)).astype(np.float32)
      std = np.broadcast_to(1 / factor, (size,)).astype(np.float32)
  except ValueError:  # of shapes that do not go together
    raise UserError(f'it normalizes other channels than the {channels} of the images') from None
  if not np.isfinite([mean, std]).all() or np.any(std <= 0):
    raise UserError('it scales its images by a number that is not above 0, or is none')
  if whitening is not None:
    # Ours takes the mean away and multiplies by the matrix; a factor goes into the matrix.
    matrix = (whitening.astype(np.float64) / std[:, None]).astype(np.float32)
    return Statistics(mean, np.ones(size, np.float32), matrix)
  given = target.config.data
  if given.get('normalize', 'given') == 'given':
    same = (np.allclose(mean, given.mean, atol=_SAME), np.allclose(std, given.std, rtol=_SAME))
    if all(same):
      return None
  remarks.append(f'its own normalization is kept: mean {_short(mean)}, std {_short(std)}')
  return Statistics(mean, std)


def _numbers(op: Op, key: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
  """Numbers of a layer, float64, one or one a channel: of its description, else of its arrays."""
  said = op.options.get(key)
  try:
    found = np.asarray(arrays[key] if said is None else said, object)  # of lists that are no matrix
    return found.astype(float).ravel()
  except (KeyError, OverflowError, TypeError, ValueError):
    raise UserError(f'its layer {op.layer!r} has no {key} of numbers') from None


def _matrix(op: Op, arrays: Mapping[str, np.ndarray], size: int) -> np.ndarray:
  """The kernel of a dense layer that whitens flattened images of `size` numbers, float32."""
  kernel, bias = arrays.get('kernel'), arrays.get('bias')
  if kernel is None or kernel.shape != (size, size) or not np.isfinite(kernel).all():
    raise UserError(f'its layer {op.layer!r} is no matrix of {size} x {size} numbers')
  if bias is not None and bias.any():
    raise UserError(f'its layer {op.layer!r} has a bias, and the network takes images without one')
  return np.asarray(kernel, np.float32)


def _short(values: np.ndarray) -> str:
  return '(' + ', '.join(f'{value:.4g}' for value in values[:4]) + ')'
