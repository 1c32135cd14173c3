"""The chain of augmentations: what is asked for, in the right order, by the key."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from cifar_jax.augment import Augmentation, make_augment
from cifar_jax.augment.normalize import make_normalize
from configs import base
from tests.helpers.windows import windows

EXAMPLE_KEY = jax.random.key(9)
GENERATOR = np.random.default_rng(0)


def random_images(*shape: int) -> np.ndarray:
  return GENERATOR.uniform(size=shape).astype(np.float32)


PLAIN = make_normalize((0.0,), (1.0,))


def augmentation(normalize=PLAIN, **options: Any) -> Augmentation:
  section = base.get_config().augment
  section.update(options)
  augment = make_augment(section, normalize)
  return jax.jit(lambda key, *inputs: augment(key, EXAMPLE_KEY, *inputs))


def test_nothing_asked_for_is_nothing_done() -> None:
  images = random_images(3, 4, 4, 3)
  np.testing.assert_array_equal(augmentation()(jax.random.key(0), images, jnp.arange(3), 0), images)


@pytest.mark.parametrize(
  ('flip', 'padding'), [('random', 0), ('none', 1), ('random', 1), ('alternating', 1)]
)
def test_same_key_same_images_and_another_key_others(flip, padding) -> None:
  images = random_images(64, 5, 5, 1)
  augment = augmentation(flip=flip, crop_padding=padding)
  once, twice, other = (
    np.asarray(augment(jax.random.key(k), images, jnp.arange(64), 1)) for k in (3, 3, 4)
  )
  np.testing.assert_array_equal(once, twice)
  assert not np.array_equal(once, other)
  if padding == 0:
    return
  # Both together: each is a window of the image or of its mirror image, and all 18 occur.
  mirrors = images[:, :, ::-1]
  kinds = set()
  for image, mirror, result in zip(images, mirrors, once, strict=True):
    possible = np.concatenate([windows(image, padding), windows(mirror, padding)])
    matches = np.flatnonzero((possible == result).all((1, 2, 3)))
    assert len(matches) == 1
    kinds.add(int(matches[0]))
  assert len(kinds) > (6 if flip == 'none' else 13)
  assert flip != 'none' or max(kinds) < 9


@pytest.mark.parametrize('flip', ['random', 'alternating'])
def test_flip_tells_nothing_about_the_crop(flip) -> None:
  """Each function has a key of its own: with one key for both they would go together."""
  images = np.repeat(random_images(1, 5, 5, 1), 2000, axis=0)
  result = np.asarray(
    augmentation(flip=flip, crop_padding=1)(jax.random.key(0), images, jnp.arange(2000), 0)
  )
  possible = np.concatenate([windows(images[0], 1), windows(images[0, :, ::-1], 1)])
  kinds = (result[:, None] == possible).all((2, 3, 4)).sum(0)
  assert kinds.sum() == 2000
  assert kinds.min() > 60  # 111 expected in each of 18, five standard deviations are 51
  assert kinds.max() < 162


def test_cutout_comes_after_the_crop() -> None:
  """A box cut before the crop could be moved out of the image or be reflected into it twice."""
  images = 1 + random_images(300, 6, 6, 1)
  augment = augmentation(flip='alternating', crop_padding=2, cutout=3)
  result = np.asarray(augment(jax.random.key(0), images, jnp.arange(300), 0))
  assert ((result == 0).sum((1, 2, 3)) == 9).all()


# Every option with a value that acts.
OPTIONS: dict[str, dict[str, Any]] = {
  'flip': {'flip': 'random'},
  'vertical_flip': {'vertical_flip': True},
  **{
    name: {name: 0.3}
    for name in (
      *('rotation', 'height_shift', 'width_shift', 'shear', 'zoom'),
      *('brightness', 'contrast', 'saturation', 'hue', 'erasing'),
      *('brightness_shift', 'contrast_scale'),
    )
  },
  'rotation': {'rotation': 30.0, 'interpolation': 'nearest', 'border': 'zero'},
  'crop_padding': {'crop_padding': 2, 'crop_border': 'zero'},
  'randaugment': {'policy': 'randaugment', 'policy_operations': 3, 'policy_magnitude': 15},
  'trivialaugment': {'policy': 'trivialaugment'},
  'cutout': {'cutout': 3},
}
LEVELS = GENERATOR.integers(0, 256, (48, 8, 8, 3), dtype=np.uint8)


@pytest.fixture(scope='module')
def plain() -> np.ndarray:
  return np.asarray(augmentation()(jax.random.key(0), LEVELS, jnp.arange(48), 0))


@pytest.mark.parametrize(
  'name',
  [
    pytest.param(name, marks=pytest.mark.thorough if name == 'randaugment' else ())
    for name in OPTIONS
  ],
)
def test_each_option_acts_on_most_images_as_the_key_says(plain, name) -> None:
  augment = augmentation(**OPTIONS[name])
  once, again, other = (
    np.asarray(augment(jax.random.key(k), LEVELS, jnp.arange(48), 0)) for k in (0, 0, 1)
  )
  np.testing.assert_array_equal(once, again)
  assert once.dtype == np.float32
  assert (once != plain).any((1, 2, 3)).sum() > 8
  assert (once != other).any((1, 2, 3)).sum() > 12


def test_colors_come_before_normalization_and_boxes_after_it() -> None:
  normalize = make_normalize((0.5,), (0.25,))
  augment = augmentation(normalize, brightness=5.0, cutout=4)
  result = np.asarray(augment(jax.random.key(0), LEVELS, jnp.arange(48), 0))
  assert result.min() >= -2 - 1e-6  # (0 - 0.5) / 0.25
  assert result.max() <= 2 + 1e-6
  assert ((result == 0).all(-1).sum((1, 2)) == 16).all()


def test_shift_and_scale_come_between_normalization_and_boxes() -> None:
  augment = augmentation(make_normalize((0.5,), (0.25,)), brightness_shift=0.5, cutout=4)
  result = np.asarray(augment(jax.random.key(0), LEVELS, jnp.arange(48), 0))
  boxes = (result == 0).all(-1)
  assert (boxes.sum((1, 2)) == 16).all()
  shifts = np.where(boxes[..., None], np.nan, result - (LEVELS / 255 - 0.5) / 0.25)
  of_images = np.nanmean(shifts, (1, 2, 3))
  np.testing.assert_allclose(np.nanstd(shifts, (1, 2, 3)), 0, atol=1e-5)
  assert -0.5 <= of_images.min() < -0.4
  assert 0.4 < of_images.max() <= 0.5


def test_another_option_leaves_the_draws_of_the_others_alone() -> None:
  """The same flips with and without a crop of no pixels' effect: each has a key of its own."""
  key, indices = jax.random.key(5), jnp.arange(48)
  alone = np.asarray(augmentation(flip='random')(key, LEVELS, indices, 0))
  beside = np.asarray(augmentation(flip='random', vertical_flip=True)(key, LEVELS, indices, 0))
  same = (alone == beside).all((1, 2, 3)) | (alone == beside[:, ::-1]).all((1, 2, 3))
  assert same.all()


@pytest.mark.thorough
def test_one_and_eight_devices_see_the_same_images() -> None:
  augment = augmentation(flip='random', rotation=20.0, crop_padding=2, cutout=3)
  one = np.asarray(augment(jax.random.key(0), LEVELS, jnp.arange(48), 0))
  mesh = jax.make_mesh((8,), ('data',), axis_types=(jax.sharding.AxisType.Auto,))
  sharded = jax.device_put(LEVELS, NamedSharding(mesh, PartitionSpec('data')))
  eight = augment(jax.random.key(0), sharded, jnp.arange(48), 0)
  np.testing.assert_allclose(eight, one, atol=1e-5)


def test_later_start_leaves_the_epochs_before_alone() -> None:
  images = random_images(16, 5, 5, 1)
  later = augmentation(flip='random', zoom=0.2, from_epoch=2)
  at_once = augmentation(flip='random', zoom=0.2)
  key, indices = jax.random.key(3), jnp.arange(16)
  for epoch in (0, 1):
    np.testing.assert_allclose(later(key, images, indices, epoch), images, rtol=1e-6)
  for epoch in (2, 7):
    found, expected = (run(key, images, indices, epoch) for run in (later, at_once))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(found, images)
