"""Mirror images: each is the image or its mirror image, by the right coins."""

import jax
import numpy as np
import pytest

from cifar_jax.augment.flips import alternating_flip, random_flip, random_vertical_flip

EXAMPLE_KEY = jax.random.key(9)
GENERATOR = np.random.default_rng(0)


def random_images(*shape: int) -> np.ndarray:
  return GENERATOR.uniform(size=shape).astype(np.float32)


def test_flip_mirrors_each_image_by_its_own_coin() -> None:
  images = random_images(1000, 3, 4, 2)
  flipped = np.asarray(jax.jit(random_flip)(jax.random.key(0), images))
  mirrored = (flipped == images[:, :, ::-1]).all((1, 2, 3))
  untouched = (flipped == images).all((1, 2, 3))
  np.testing.assert_array_equal(mirrored, ~untouched)
  assert 400 < mirrored.sum() < 600  # six standard deviations of 1000 fair coins are 95
  neighbors = (mirrored[1:] == mirrored[:-1]).sum()
  assert 400 < neighbors < 600  # fair coins follow each other as often as not


@pytest.mark.parametrize('run', [0, 1])
def test_alternating_flip_shows_both_sides_in_any_two_epochs(run) -> None:
  images = random_images(400, 3, 4, 2)
  indices = GENERATOR.permutation(50000)[:400]
  flip = jax.jit(lambda indices, epoch: alternating_flip(jax.random.key(run), *indices, epoch))
  views = [np.asarray(flip((images, indices), epoch)) for epoch in range(4)]
  mirrored = (views[0] == images[:, :, ::-1]).all((1, 2, 3))
  np.testing.assert_array_equal(~mirrored, (views[0] == images).all((1, 2, 3)))
  assert 140 < mirrored.sum() < 260  # 400 fair coins: six standard deviations are 60
  np.testing.assert_array_equal(views[1], views[0][:, :, ::-1])
  np.testing.assert_array_equal(views[2], views[0])
  np.testing.assert_array_equal(views[3], views[1])


def test_alternating_flip_belongs_to_the_example_not_to_its_place_in_the_batch() -> None:
  images, indices = random_images(100, 2, 3, 1), np.arange(100) + 7
  order = GENERATOR.permutation(100)
  straight = np.asarray(alternating_flip(EXAMPLE_KEY, images, indices, 3))
  shuffled = np.asarray(alternating_flip(EXAMPLE_KEY, images[order], indices[order], 3))
  np.testing.assert_array_equal(shuffled, straight[order])
  other = np.asarray(alternating_flip(jax.random.key(10), images, indices, 3))
  assert not np.array_equal(other, straight)


def test_vertical_flip_turns_each_image_upside_down_by_its_own_coin() -> None:
  images = random_images(1000, 3, 4, 2)
  flipped = np.asarray(jax.jit(random_vertical_flip)(jax.random.key(0), images))
  turned = (flipped == images[:, ::-1]).all((1, 2, 3))
  np.testing.assert_array_equal(turned, ~(flipped == images).all((1, 2, 3)))
  assert 400 < turned.sum() < 600
