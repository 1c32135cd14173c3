"""The numbers by which a run normalizes its images, in a file of its own: with whitening they are
many, and no checkpoint need repeat them.
"""

import pathlib
import zipfile
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from cifar_jax.augment.normalize import Normalize, Statistics, make_normalize
from cifar_jax.utils.errors import UserError

NORMALIZATION_NAME = 'normalization.npz'


def save(run: pathlib.Path, statistics: Statistics) -> None:
  """Writes what the training images gave into the folder of a run."""
  arrays: dict[str, Any] = {'mean': statistics.mean, 'std': statistics.std}
  if statistics.whitening is not None:
    arrays['whitening'] = statistics.whitening
  np.savez(run / NORMALIZATION_NAME, **arrays)


def load(run: pathlib.Path, data_config: ConfigDict) -> Normalize:
  """Returns the normalization of a run, for which its training images are not needed.

  Raises:
    UserError: the folder lacks the numbers that the run took from its training images.
  """
  if data_config.get('normalize', 'given') == 'given':
    return make_normalize(data_config.mean, data_config.std)
  path = run / NORMALIZATION_NAME
  try:
    with path.open('rb') as file, np.load(file, allow_pickle=False) as arrays:
      return Statistics(**{name: arrays[name] for name in arrays.files})
  except (OSError, ValueError, TypeError, zipfile.BadZipFile) as error:
    raise UserError(
      f'{path} cannot be read ({type(error).__name__}); it holds what the images of this run are '
      'normalised by, and going on with its training writes it again'
    ) from error
