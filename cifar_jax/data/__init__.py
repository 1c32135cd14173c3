"""Where images come from and how they are split; see `load` and `split`."""

from cifar_jax.data.dataset import Dataset, Examples, Split
from cifar_jax.data.sources import load
from cifar_jax.data.splits import (
  Splits,
  check_classes_left,
  renumbered,
  split,
  validated,
  with_shared_images_noted,
)

__all__ = [
  'Dataset',
  'Examples',
  'Split',
  'Splits',
  'check_classes_left',
  'load',
  'renumbered',
  'split',
  'validated',
  'with_shared_images_noted',
]
