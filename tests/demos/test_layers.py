"""The lessons against SciPy and by hand."""

import numpy as np
import pytest

from cifar_jax.demos import layers


@pytest.mark.parametrize('name', layers.KERNELS)
def test_convolution_is_the_full_one_of_scipy(name: str) -> None:
  signal = pytest.importorskip('scipy.signal')
  image = np.random.default_rng(0).uniform(0, 255, (12, 9)).astype(np.float32)
  expected = signal.convolve2d(image, layers.KERNELS[name], mode='full')
  np.testing.assert_allclose(layers.convolve(image, layers.KERNELS[name]), expected, atol=1e-3)


def test_sobel_is_that_of_numpy() -> None:
  signal = pytest.importorskip('scipy.signal')
  image = np.random.default_rng(0).uniform(0, 255, (12, 9)).astype(np.float32)
  across = signal.convolve2d(image, [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
  down = signal.convolve2d(image, [[1, 2, 1], [0, 0, 0], [-1, -2, -1]])
  expected = np.hypot(across, down)
  found = layers.sobel(image)
  np.testing.assert_allclose(found, expected * 255 / expected.max(), atol=1e-2)
  assert found.max() == pytest.approx(255)
  assert (layers.sobel(np.zeros((4, 4), np.float32)) == 0).all()


def test_pooling_by_hand() -> None:
  numbers = np.array([[1, 3, 2, 9], [7, 4, 1, 5], [8, 5, 2, 3], [4, 2, 1, 4]], np.float32)
  assert layers.max_pool(numbers).tolist() == [[7, 9], [8, 4]]
  assert layers.max_pool(np.arange(100, dtype=np.float32).reshape(10, 10)).shape == (5, 5)
  assert layers.rectify(np.array([-2.0, 0.0, 3.0])).tolist() == [0, 0, 3]


def test_pictures_are_written(tmp_path, capsys) -> None:
  image = pytest.importorskip('PIL.Image')
  pytest.importorskip('matplotlib')
  from cifar_jax import commands

  image.new('RGB', (40, 20), 'red').save(tmp_path / 'red.png')
  commands.main(['lesson', 'pooling', str(tmp_path / 'red.png'), f'--out={tmp_path}'])
  paths = capsys.readouterr().out.split()
  assert len(paths) == 3
  for path in paths:
    with image.open(path) as opened:
      assert opened.size[0] > 500
