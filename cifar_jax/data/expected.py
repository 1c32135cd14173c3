"""What a config says about the images and classes of its data before they are there."""

from typing import NamedTuple

from ml_collections import ConfigDict

from cifar_jax.data import cifar_files, digits, idx, stl10, svhn
from cifar_jax.data.image_folder.listing import list_folder
from cifar_jax.utils.paths import user_path

_CIFAR, _MNIST = (32, 32, 3), (28, 28, 1)


class DatasetInfo(NamedTuple):
  """What the name of a data set says.

  Attributes:
    image_shape: The (H, W, C) of the images as the source delivers them.
    num_classes: The number of classes.
  """

  image_shape: tuple[int, int, int]
  num_classes: int


# The data sets whose images and classes are the same wherever they come from.
KNOWN_DATASETS = {
  'synthetic': DatasetInfo(_CIFAR, 10),
  **{name: DatasetInfo(_CIFAR, len(classes)) for name, classes in cifar_files.CLASSES.items()},
  **{name: DatasetInfo(_MNIST, len(classes)) for name, classes in idx.CLASSES.items()},
  **{name: DatasetInfo(_CIFAR, len(svhn.CLASSES)) for name in svhn.NAMES},
  stl10.NAME: DatasetInfo(stl10.SHAPE, len(stl10.CLASSES)),
  digits.NAME: DatasetInfo(digits.SHAPE, len(digits.CLASSES)),
}


def known(data_config: ConfigDict) -> DatasetInfo | None:
  """Returns what `config.data` says by `name`; None where only the data can tell, as with an .npz
  file of any name in `dir`.
  """
  named = not data_config.dir.lower().endswith('.npz')
  return KNOWN_DATASETS.get(data_config.name) if named else None


class Expected(NamedTuple):
  """What a network will be built for.

  Attributes:
    image_shape: The (H, W, C) of its inputs.
    num_classes: The number of its logits.
    knows_size: Whether the config says the size of the images.
    knows_classes: Whether the config says the number of classes.
  """

  image_shape: tuple[int, int, int]
  num_classes: int
  knows_size: bool
  knows_classes: bool


def expected(data_config: ConfigDict) -> Expected:
  """Returns image shape and number of classes as far as the config says them, else CIFAR-10's.

  The classes of a folder of images are counted if it is there.

  Args:
    data_config: The section `data` of a config; `name`, `dir`, `channels`, `pad_to` and
      `folder.image_size` are read.

  Raises:
    UserError: the folder of images is there, and holds none.
  """
  (height, width, channels), classes = KNOWN_DATASETS['cifar10']
  knows_size, knows_classes = bool(data_config.pad_to), False
  if data_config.name == 'folder':
    height, width = data_config.folder.image_size
    knows_size = True
    root = user_path(data_config.dir) if data_config.dir else None
    if root and root.is_dir():
      classes, knows_classes = len(list_folder(root).class_names), True
  elif said := known(data_config):
    (height, width, channels), classes = said
    knows_size = knows_classes = True
  if data_config.pad_to:
    height = width = data_config.pad_to
  shape = height, width, data_config.channels or channels
  return Expected(shape, classes, knows_size, knows_classes)
