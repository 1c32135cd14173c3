"""Arrays as they are shown."""

import io

import numpy as np
import pytest

from cifar_jax.figures import image_utils

Image = pytest.importorskip('PIL.Image')


@pytest.mark.parametrize('channels', [1, 2, 3, 4, 5])
def test_images_of_any_channels_are_shown(channels) -> None:
  image = np.random.default_rng(0).integers(0, 256, (3, 4, channels)).astype(np.uint8)
  shown = image_utils.rgb(image)
  assert shown.shape == (3, 4, 3)
  if channels == 4:
    white = Image.new('RGBA', (4, 3), 'white')
    expected = np.asarray(Image.alpha_composite(white, Image.fromarray(image)).convert('RGB'))
    assert np.abs(shown.astype(int) - expected).max() <= 1  # rounded elsewhere
  else:
    assert np.array_equal(shown, image[..., [0, 0, 0] if channels < 3 else [0, 1, 2]])
  stored = np.asarray(Image.open(io.BytesIO(image_utils.png(image))))
  assert np.array_equal(stored, image[..., 0] if channels == 1 else shown)
