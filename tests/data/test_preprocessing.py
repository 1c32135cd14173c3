"""How an image file becomes an input: the value that is kept with a run, and its steps."""

import dataclasses
import json

import numpy as np
import pytest

from cifar_jax.data.preprocessing import (
  Preprocessing,
  from_facts,
  of_arrays,
  of_folder,
  pad,
  with_channels,
)
from cifar_jax.utils.errors import UserError
from configs import base

WANTED = Preprocessing(12, 9, 'pad', 'nearest', 10, source_channels=3, channels=1, pad_to=14)


def test_written_and_read_again() -> None:
  assert from_facts(json.loads(json.dumps(dataclasses.asdict(WANTED)))) == WANTED
  assert WANTED.shape == (14, 14, 1)


@pytest.mark.parametrize(
  'change',
  [
    {'height': '12'},
    {'height': 12.5},
    {'width': 0},
    {'width': None},
    {'resize': 'squeeze'},
    {'resize': 1},
    {'interpolation': ''},
    {'max_megapixels': True},
    {'channels': 5},
    {'pad_to': 10},  # smaller than the image
  ],
)
def test_facts_that_somebody_has_edited(change) -> None:
  with pytest.raises(ValueError, match='preprocessing'):
    from_facts({**dataclasses.asdict(WANTED), **change})


@pytest.mark.parametrize('facts', [None, [], 'crop', {}, {'height': 3}])
def test_facts_that_are_something_else(facts) -> None:
  with pytest.raises(ValueError, match='preprocessing'):
    from_facts(facts)


def test_of_a_config() -> None:
  config = base.get_config().data
  config.folder.image_size, config.folder.resize, config.channels = (7, 5), 'pad', 1
  assert of_folder(config) == Preprocessing(7, 5, 'pad', 'bilinear', 64.0, channels=1)
  assert of_folder(config).shape == (7, 5, 1)
  assert of_arrays(config, (28, 28, 1)).shape == (28, 28, 1)
  config.pad_to = 6
  with pytest.raises(UserError, match=r'pad_to=6 is smaller than the images of 7x5 pixels'):
    of_folder(config)


def images(*shape: int) -> np.ndarray:
  return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def test_gray_is_that_of_pillow() -> None:
  image = pytest.importorskip('PIL.Image')
  color = images(3, 9, 7, 3)
  expected = [np.asarray(image.fromarray(one).convert('L')) for one in color]
  # Pillow rounds in another place: sometimes one step of 255 apart.
  difference = with_channels(color, 1)[..., 0].astype(int) - np.stack(expected).astype(int)
  assert np.abs(difference).max() <= 1
  assert np.mean(difference != 0) < 0.1


def test_pure_colors_have_the_printed_weights() -> None:
  primaries = 255 * np.eye(3, dtype=np.uint8).reshape(1, 1, 3, 3)
  assert with_channels(primaries, 1).ravel().tolist() == [76, 150, 29]  # .299, .587, .114 of 255
  white = np.full((1, 1, 1, 3), 255, np.uint8)
  assert with_channels(white, 1).item() == 255


def test_more_images_than_are_converted_at_a_time() -> None:
  many = images(5000, 1, 2, 3)
  assert np.array_equal(with_channels(many, 1)[4990:], with_channels(many[4990:], 1))


def test_gray_repeated_and_left_alone() -> None:
  gray = images(2, 4, 5, 1)
  assert np.array_equal(with_channels(gray, 3), np.concatenate([gray] * 3, axis=-1))
  assert with_channels(gray, 0) is gray
  assert with_channels(gray, 1) is gray
  assert pad(gray, 0) is gray
  assert pad(images(1, 8, 8, 3), 8).shape == (1, 8, 8, 3)


def test_padding_puts_the_image_into_the_middle() -> None:
  digits = images(2, 28, 28, 1) | 1
  padded = pad(digits, 32)
  assert padded.shape == (2, 32, 32, 1)
  assert np.array_equal(padded[:, 2:30, 2:30], digits)
  assert np.count_nonzero(padded) == digits.size
  assert pad(images(1, 3, 5, 1), 6).shape == (1, 6, 6, 1)


@pytest.mark.parametrize(
  ('function', 'argument', 'message'),
  [
    (with_channels, 3, '--config.data.channels=3 cannot be made of images with 2 channels'),
    (pad, 7, '--config.data.pad_to=7 is smaller than the images of 8x8 pixels'),
  ],
)
def test_what_cannot_be_done(function, argument, message) -> None:
  with pytest.raises(UserError, match=message):
    function(images(1, 8, 8, 2), argument)


def test_what_is_transparent_is_laid_on_white() -> None:
  image = pytest.importorskip('PIL.Image')
  pixels = images(3, 9, 7, 4)
  white = image.new('RGBA', (7, 9), 'white')
  expected = [image.alpha_composite(white, image.fromarray(one)).convert('RGB') for one in pixels]
  found = with_channels(pixels, 3)
  # Pillow rounds in another place.
  assert np.abs(found.astype(int) - np.stack([np.asarray(one) for one in expected])).max() <= 1
  assert np.array_equal(with_channels(found, 1), with_channels(pixels, 1))
  assert with_channels(np.uint8([[[[9, 8, 7, 255], [9, 8, 7, 0]]]]), 3).tolist() == [
    [[[9, 8, 7], [255, 255, 255]]]
  ]
