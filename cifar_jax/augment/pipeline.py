"""The chain of augmentations that a config asks for."""

import functools
from collections.abc import Callable

import jax
from ml_collections import ConfigDict

from cifar_jax.augment.affine import random_affine
from cifar_jax.augment.color import random_color, random_shift_and_scale
from cifar_jax.augment.geometric import (
  alternating_flip,
  random_crop,
  random_cutout,
  random_erasing,
  random_flip,
  random_vertical_flip,
)
from cifar_jax.augment.normalize import Normalize, scale
from cifar_jax.augment.policies import randaugment, trivialaugment
from cifar_jax.utils.array_types import Images, Indices, Pixels, RandomKey, Step

# (key of the step, key of what belongs to an example throughout the run, images, indices, epoch) ->
# normalized images. `indices` are those of the examples in the training set, so that an
# augmentation may treat an example otherwise in each epoch; `epoch` counts from 0.
Augmentation = Callable[[RandomKey, RandomKey, Pixels | Images, Indices, Step], Images]

_Change = Callable[[RandomKey, Images], Images]

_AFFINE = ('rotation', 'height_shift', 'width_shift', 'shear', 'zoom')
_COLOR = ('brightness', 'contrast', 'saturation', 'hue')


def make_augment(augment_config: ConfigDict, normalize: Normalize) -> Augmentation:
  """Returns the chain that `config.augment` asks for, with the normalization in its place.

  In order: mirroring, one affine map, crop, colors, policy, all on images in 0..1; normalization;
  shift and scale of all values; boxes set to 0. Each uses a key of its own, so that they are
  independent of each other, and keeps it whatever else is enabled.

  Args:
    augment_config: The section `augment` of a config; mixup and cutmix are for `make_mix`.
    normalize: What scales the images, as `normalize.fit_normalize` returns it.
  """
  before, after = _before_normalization(augment_config), _after_normalization(augment_config)
  alternating = augment_config.flip == 'alternating'

  def augment(
    key: RandomKey, example_key: RandomKey, images: Pixels | Images, indices: Indices, epoch: Step
  ) -> Images:
    images = scale(images)
    if alternating:
      images = alternating_flip(example_key, images, indices, epoch)
    for number, change in before.items():
      images = change(jax.random.fold_in(key, number), images)
    images = normalize(images)
    for number, change in after.items():
      images = change(jax.random.fold_in(key, number), images)
    return images

  if not augment_config.from_epoch:
    return augment

  def augment_later(
    key: RandomKey, example_key: RandomKey, images: Pixels | Images, indices: Indices, epoch: Step
  ) -> Images:
    return jax.lax.cond(
      epoch >= augment_config.from_epoch,
      lambda: augment(key, example_key, images, indices, epoch),
      lambda: normalize(scale(images)),
    )

  return augment_later


def _before_normalization(config: ConfigDict) -> dict[int, _Change]:
  changes: dict[int, _Change] = {}
  if config.flip == 'random':
    changes[0] = random_flip
  if config.vertical_flip:
    changes[1] = random_vertical_flip
  if any(config[name] for name in _AFFINE):
    amounts = {name: config[name] for name in _AFFINE}
    changes[2] = functools.partial(
      random_affine, **amounts, interpolation=config.interpolation, border=config.border
    )
  if config.crop_padding:
    changes[3] = functools.partial(
      random_crop, padding=config.crop_padding, border=config.crop_border
    )
  if any(config[name] for name in _COLOR):
    changes[4] = functools.partial(
      random_color, **{f'{name}_range': config[name] for name in _COLOR}
    )
  if config.policy == 'randaugment':
    changes[5] = functools.partial(
      randaugment, operations=config.policy_operations, magnitude=config.policy_magnitude
    )
  if config.policy == 'trivialaugment':
    changes[5] = trivialaugment
  return changes


def _after_normalization(config: ConfigDict) -> dict[int, _Change]:
  changes: dict[int, _Change] = {}
  if config.brightness_shift or config.contrast_scale:
    changes[8] = functools.partial(
      random_shift_and_scale,
      shift_range=config.brightness_shift,
      scale_range=config.contrast_scale,
    )
  if config.cutout:
    changes[6] = functools.partial(random_cutout, size=config.cutout)
  if config.erasing:
    changes[7] = functools.partial(random_erasing, probability=config.erasing)
  return changes
