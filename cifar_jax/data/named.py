"""The data sets whose images and classes are the same wherever they come from."""

from typing import NamedTuple

from ml_collections import ConfigDict

from cifar_jax.data import cifar_files, idx

_CIFAR, _MNIST = (32, 32, 3), (28, 28, 1)


class Known(NamedTuple):
  """What a name says.

  Attributes:
    image_shape: (H, W, C) as the source delivers them.
    num_classes: number of classes.
  """

  image_shape: tuple[int, int, int]
  num_classes: int


NAMED = {
  'synthetic': Known(_CIFAR, 10),
  **{name: Known(_CIFAR, len(classes)) for name, classes in cifar_files.CLASSES.items()},
  **{name: Known(_MNIST, len(classes)) for name, classes in idx.CLASSES.items()},
  'svhn_cropped': Known(_CIFAR, 10),
}


def known(data_config: ConfigDict) -> Known | None:
  """What `config.data` says by `name`; None where only the data can tell, as with an .npz file of
  any name in `dir`.
  """
  return None if data_config.dir.lower().endswith('.npz') else NAMED.get(data_config.name)
