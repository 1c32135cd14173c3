import numpy as np
import pytest

from cifar_jax.data.adapt import adapt
from cifar_jax.data.dataset import Dataset, Split
from cifar_jax.data.preprocessing import Preprocessing, pad, with_channels
from cifar_jax.utils.errors import UserError
from configs import base


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


def test_both_splits_are_adapted() -> None:
  part = Split(images(4, 8, 8, 3), np.zeros(4, np.int32))
  config = base.get_config().data
  config.channels, config.pad_to = 1, 10
  adapted = adapt(Dataset('x', part, part, ('a',), 'here'), config)
  assert adapted.train.images.shape == adapted.test.images.shape == (4, 10, 10, 1)
  assert adapted.train.images.dtype == np.uint8
  assert adapted.preprocessing == Preprocessing(8, 8, source_channels=3, channels=1, pad_to=10)


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
