"""Random augmentation of batches on the device: pure, jittable, drawn for each image."""

from cifar_jax.augment.geometric import pad_by_reflection
from cifar_jax.augment.mix import Mix, Mixed, make_mix
from cifar_jax.augment.pipeline import Augmentation, make_augment

__all__ = ['Augmentation', 'Mix', 'Mixed', 'make_augment', 'make_mix', 'pad_by_reflection']
