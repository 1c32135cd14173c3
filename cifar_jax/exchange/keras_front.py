"""The preprocessing in front of a model of Keras's: Rescaling, Normalization, whitening.

A network here takes normalized images; a model of Keras's may take pixels 0..255 and normalize them
itself. Both directions are here, so that one undoes the other.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from cifar_jax.augment.normalize import Statistics
from cifar_jax.exchange.imports import Target
from cifar_jax.exchange.keras_config import Op
from cifar_jax.exchange.keras_layers import Step, Weight, rescaling
from cifar_jax.utils.errors import UserError

_LEAST_STD = 1e-7  # what Keras divides by at least
_SAME = 1e-5  # how far normalizations may be apart and still be one


@dataclasses.dataclass(frozen=True)
class Front:
  """What stands before a network in a file.

  Attributes:
    ops: The operations from the images on.
    arrays: The arrays of the layers of the file.
  """

  ops: Sequence[Op]
  arrays: Mapping[str, Mapping[str, np.ndarray]]


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


def statistics_of(front: Front, target: Target, remarks: list[str]) -> Statistics | None:
  """What a file normalizes images by; None where it says nothing, or what the config says.

  Args:
    front: What stands before the network.
    target: The network.
    remarks: Sentences for a person, to which one is added.

  Raises:
    UserError: that is no normalization of the networks here.
  """
  ops = [op for op in front.ops if op.kind not in ('Identity', 'InputLayer')]
  if not ops:
    remarks.append('it does not normalize its images: that of the config is taken')
    return None
  channels = target.image_shape[2]
  factor, offset = np.ones(1), np.zeros(1)
  whitening = None
  for op in ops:
    if op.kind in ('Flatten', 'Reshape'):
      continue
    if whitening is not None:
      raise UserError(f'its layer {op.layer!r} normalizes images that are whitened already')
    if op.kind == 'Rescaling':
      scale, shift = (np.asarray(op.options[key], np.float64) for key in ('scale', 'offset'))
      factor, offset = factor * scale, offset * scale + shift
    elif op.kind == 'Normalization':
      mean, std = _moments(op, front.arrays.get(op.layer, {}))
      factor, offset = factor / std, (offset - mean) / std
    else:
      whitening = np.asarray(front.arrays[op.layer]['kernel'], np.float32)
  factor = 255 * factor  # of the images in 0..1
  if not np.all(np.isfinite(factor)) or np.any(factor <= 0):
    raise UserError('it scales its images by a number that is not above 0')
  size = channels if whitening is None else len(whitening)
  try:
    mean = np.broadcast_to(-offset / factor, (size,)).astype(np.float32)
    std = np.broadcast_to(1 / factor, (size,)).astype(np.float32)
  except ValueError:
    raise UserError(f'it normalizes other channels than the {channels} of the images') from None
  if whitening is not None:
    # Ours takes the mean away and multiplies by the matrix; a factor goes into the matrix.
    if whitening.shape != (size, size):
      raise UserError('it multiplies its images by a matrix that is not square')
    matrix = (whitening.astype(np.float64) / std[:, None]).astype(np.float32)
    return Statistics(mean, np.ones(size, np.float32), matrix)
  given = target.config.data
  if given.get('normalize', 'given') == 'given':
    same = (np.allclose(mean, given.mean, atol=_SAME), np.allclose(std, given.std, rtol=_SAME))
    if all(same):
      return None
  remarks.append(f'its own normalization is kept: mean {_short(mean)}, std {_short(std)}')
  return Statistics(mean, std)


def _moments(op: Op, arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
  mean, variance = (
    np.asarray(op.options[key] if op.options.get(key) is not None else arrays.get(key), object)
    for key in ('mean', 'variance')
  )
  try:
    mean, variance = mean.astype(np.float64).ravel(), variance.astype(np.float64).ravel()
  except (TypeError, ValueError):
    raise UserError(f'its layer {op.layer!r} has no mean and variance') from None
  return mean, np.maximum(np.sqrt(variance), _LEAST_STD)


def _short(values: np.ndarray) -> str:
  return '(' + ', '.join(f'{value:.4g}' for value in values[:4]) + ')'
