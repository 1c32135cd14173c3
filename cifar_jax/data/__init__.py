"""Where images come from and how they are split; see `load_splits`."""

from cifar_jax.data.dataset import Dataset, Examples, Split, has_label, images_per_batch, label_text
from cifar_jax.data.identity import fingerprint, renumbered
from cifar_jax.data.sources import load
from cifar_jax.data.splits import (
  Splits,
  check_classes_left,
  limit_validation_batches,
  with_shared_images_noted,
)
from cifar_jax.data.splitting import load_splits, split

__all__ = [
  'Dataset',
  'Examples',
  'Split',
  'Splits',
  'check_classes_left',
  'fingerprint',
  'has_label',
  'images_per_batch',
  'label_text',
  'limit_validation_batches',
  'load',
  'load_splits',
  'renumbered',
  'split',
  'with_shared_images_noted',
]
