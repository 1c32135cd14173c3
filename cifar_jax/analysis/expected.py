"""What a config says about the images and classes of its data before they are there."""

from typing import NamedTuple

from ml_collections import ConfigDict

from cifar_jax.data.image_folder.listing import list_folder
from cifar_jax.data.named import NAMED, known
from cifar_jax.utils.paths import user_path


class Expected(NamedTuple):
  """What a network will be built for.

  Attributes:
    image_shape: (H, W, C).
    num_classes: number of logits.
    knows_size: whether the config says the size of the images.
    knows_classes: whether it says the number of classes.
  """

  image_shape: tuple[int, int, int]
  num_classes: int
  knows_size: bool
  knows_classes: bool


def expected(data_config: ConfigDict) -> Expected:
  """Image shape and number of classes as far as the config says them, else those of CIFAR-10.

  The classes of a folder of images are counted if it is there.

  Args:
    data_config: `name`, `dir`, `channels`, `pad_to` and `folder.image_size`.

  Raises:
    UserError: the folder of images is there, and holds none.
  """
  (height, width, channels), classes = NAMED['cifar10']
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
