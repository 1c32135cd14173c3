"""Arrays become inputs of a network as files with the same pixels do."""

import io

import numpy as np
import pytest
from PIL import Image

from cifar_jax.data.fitted import FittedImages, check_channels
from cifar_jax.data.image_file import decode
from cifar_jax.data.preprocessing import Preprocessing
from cifar_jax.utils.errors import UserError


@pytest.mark.parametrize('channels', [1, 3, 4])
@pytest.mark.parametrize('size', [(6, 9), (8, 8)])
@pytest.mark.parametrize(
  'preprocessing',
  [
    Preprocessing(8, 8),
    Preprocessing(8, 8, 'pad', 'bilinear', pad_to=12),
    Preprocessing(8, 8, 'stretch', 'nearest', channels=1),
    Preprocessing(8, 8, source_channels=1, channels=3),
    Preprocessing(8, 8, source_channels=4),
  ],
)
def test_as_a_file_without_loss(channels, size, preprocessing) -> None:
  images = np.random.default_rng(0).integers(0, 256, (5, *size, channels), dtype=np.uint8)
  if channels == 4:
    images[..., 3] = 255  # a resized file is laid on white before, an array of pixels too
  fitted = FittedImages(images, preprocessing, np.array([3, 0, 2]))

  def of_file(pixels: np.ndarray) -> np.ndarray:
    content = io.BytesIO()
    Image.fromarray(pixels[..., 0] if channels == 1 else pixels).save(content, 'PNG')
    return decode(content.getvalue(), preprocessing).pixels

  expected = np.stack([of_file(images[row]) for row in (3, 0, 2)])
  assert fitted.shape == expected.shape
  assert (len(fitted), fitted.dtype) == (3, np.uint8)
  np.testing.assert_array_equal(fitted[:], expected)
  np.testing.assert_array_equal(fitted[np.array([2, 0])], expected[[2, 0]])
  np.testing.assert_array_equal(fitted[1:2], expected[1:2])


def test_channels_that_no_file_has_are_those_of_training_or_refused() -> None:
  check_channels(2, Preprocessing(8, 8, source_channels=2), 'a set')
  check_channels(4, Preprocessing(8, 8, source_channels=1), 'a set')
  for there, wanted in ((2, 3), (3, 2)):
    with pytest.raises(UserError, match=f'a set holds images of {there} channels, .* {wanted} cha'):
      check_channels(there, Preprocessing(8, 8, source_channels=wanted), 'a set')
