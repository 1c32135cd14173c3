"""The operations of RandAugment and TrivialAugment against PIL, and what is drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cifar_jax.augment import color, policies
from cifar_jax.augment.policies import OPERATIONS, Ranges

Image = pytest.importorskip('PIL.Image')
ImageEnhance = pytest.importorskip('PIL.ImageEnhance')
ImageOps = pytest.importorskip('PIL.ImageOps')

GENERATOR = np.random.default_rng(0)
# Smooth enough that equalization has something to do, with few levels in one channel.
LEVELS = GENERATOR.integers(40, 200, (5, 32, 32, 3)).astype(np.uint8)
LEVELS[..., 1] = LEVELS[..., 1] // 16 * 16
LEVELS[1] = 77
IMAGES = (LEVELS / 255).astype(np.float32)
RANGES = Ranges(shear=0.3, translate=10.0, rotate=30.0, color=0.9, dropped_bits=4)
APPLY = jax.jit(policies.apply, static_argnames='ranges')


def affine(level: np.ndarray, *coefficients: float) -> np.ndarray:
  """PIL's nearest-pixel map, from places in the result to places in the image, gray outside."""
  image = Image.fromarray(level)
  return np.asarray(
    image.transform(image.size, Image.Transform.AFFINE, coefficients, fillcolor=(128, 128, 128))
  )


def by_pil(name: str, level: np.ndarray, u: float, sign: float) -> np.ndarray:
  image = Image.fromarray(level)
  factor = 1 + 0.9 * u * sign
  return np.asarray(
    {
      'identity': lambda: image,
      'shear_x': lambda: affine(level, 1, 0.3 * u * sign, 0, 0, 1, 0),
      'shear_y': lambda: affine(level, 1, 0, 0, 0.3 * u * sign, 1, 0),
      'translate_x': lambda: affine(level, 1, 0, 10 * u * sign, 0, 1, 0),
      'translate_y': lambda: affine(level, 1, 0, 0, 0, 1, 10 * u * sign),
      'rotate': lambda: image.rotate(-30 * u * sign, fillcolor=(128, 128, 128)),
      'brightness': lambda: ImageEnhance.Brightness(image).enhance(factor),
      'color': lambda: ImageEnhance.Color(image).enhance(factor),
      'contrast': lambda: ImageEnhance.Contrast(image).enhance(factor),
      'sharpness': lambda: ImageEnhance.Sharpness(image).enhance(factor),
      'posterize': lambda: ImageOps.posterize(image, 8 - round(4 * u)),
      'solarize': lambda: ImageOps.solarize(image, 255 * (1 - u)),
      'autocontrast': lambda: ImageOps.autocontrast(image),
      'equalize': lambda: ImageOps.equalize(image),
    }[name]()
  )


@pytest.mark.parametrize('name', OPERATIONS)
@pytest.mark.parametrize(('u', 'sign'), [(0.31, 1.0), (1.0, -1.0), (0.6, -1.0)])
def test_operation_is_that_of_pil(name, u, sign) -> None:
  batch = len(IMAGES)
  operation = jnp.full(batch, OPERATIONS.index(name))
  found = APPLY(IMAGES, operation, jnp.full(batch, u), jnp.full(batch, sign), ranges=RANGES)
  expected = np.stack([by_pil(name, level, u, sign) for level in LEVELS]).astype(float)
  difference = np.abs(np.asarray(found) * 255 - expected)
  if name in OPERATIONS[1:6]:
    # PIL takes places in steps of 1 / 65536, so a pixel at a jump may be the next one.
    assert (difference > 1).mean() < 0.02
  else:
    assert difference.max() <= 2.1  # PIL rounds or cuts to whole levels at each stage


def test_each_image_has_its_own_operation_and_the_others_leave_it_alone() -> None:
  images = np.repeat(IMAGES[:1], len(OPERATIONS), axis=0)
  one_by_one = [
    APPLY(images[:1], jnp.array([i]), jnp.ones(1) / 2, jnp.ones(1), ranges=RANGES)[0]
    for i in range(len(OPERATIONS))
  ]
  operation, ones = jnp.arange(len(OPERATIONS)), jnp.ones(len(OPERATIONS))
  together = np.asarray(APPLY(images, operation, ones / 2, ones, ranges=RANGES))
  np.testing.assert_allclose(together, one_by_one, atol=1e-6)
  np.testing.assert_array_equal(together[0], images[0])


@pytest.mark.parametrize('policy', [policies.randaugment, policies.trivialaugment])
@pytest.mark.parametrize('channels', [pytest.param(1, marks=pytest.mark.thorough), 3])
def test_policies_stay_in_range_and_depend_on_the_key_alone(policy, channels) -> None:
  images = np.repeat(IMAGES[:1, :12, :12, :channels], 60, axis=0)
  policy = jax.jit(policy)
  once, again, other = (np.asarray(policy(jax.random.key(k), images)) for k in (0, 0, 1))
  np.testing.assert_array_equal(once, again)
  assert not np.array_equal(once, other)
  assert (once.min(), once.max()) >= (0, 0)
  assert once.max() <= 1
  assert len(np.unique(once.reshape(60, -1), axis=0)) > 8


def test_magnitude_zero_leaves_alone_what_has_a_strength() -> None:
  strengthless = {'identity', *OPERATIONS[1:11]}
  for name in strengthless:
    operation = jnp.full(len(IMAGES), OPERATIONS.index(name))
    nothing = jnp.zeros(len(IMAGES))
    found = APPLY(IMAGES, operation, nothing, nothing + 1, ranges=RANGES)
    np.testing.assert_allclose(found, IMAGES, atol=1e-6, err_msg=name)


def test_equalize_of_an_image_with_two_levels() -> None:
  # 300 pixels of 10 and 724 of 20: step = 300 // 255 = 1, so 10 -> 0 and 20 -> min(300, 255).
  levels = np.full((1, 32, 32, 1), 20, np.uint8)
  levels.ravel()[:300] = 10
  found = np.asarray(jax.jit(color.equalize)((levels / 255).astype(np.float32)))
  np.testing.assert_allclose(np.unique(found), [0, 1])
