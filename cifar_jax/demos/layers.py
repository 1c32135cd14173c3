"""What convolution, ReLU and pooling do, shown on an image and computed with this toolkit.

After "Understanding Deep Convolutional Neural Networks with a practical use-case in Tensorflow and
Keras" (Ahmed Besbes, 2017).
"""

import jax.numpy as jnp
import numpy as np

from cifar_jax.layers import MaxPool
from cifar_jax.ops.conv import conv
from cifar_jax.utils.array_types import FullConvolution, Map, SmallMap

KERNELS = {
  'horizontal gradient': np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32),
  'vertical gradient': np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]], np.float32),
  'box blur 3x3': np.full((3, 3), 1 / 9, np.float32),
  'box blur 8x8': np.full((8, 8), 1 / 64, np.float32),
  'sharpen': np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], np.float32),
  'edges': np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float32),
}

# The recap of the article in our own words: kind, what it does, its parameters.
LAYERS = (
  ('input', 'holds the pixels: height x width x channels', 'none'),
  (
    'convolution',
    'slides small filters over the maps and answers where each finds its pattern',
    'window x input channels + 1 per filter',
  ),
  (
    'ReLU',
    'keeps what is above 0 and sets the rest to 0, so that layers can be more than one linear map',
    'none',
  ),
  (
    'max-pooling',
    'keeps the largest value of each window: smaller maps, small shifts forgotten',
    'none',
  ),
  (
    'batch normalization',
    'gives each channel the mean and spread that it learns, whatever the layers before do',
    '2 per channel, and 2 running statistics',
  ),
  ('dropout', 'in training sets random values to 0, so that no unit relies on another one', 'none'),
  (
    'fully connected',
    'weighs all values of its input for each output; at the end one per class',
    'inputs + 1 per output',
  ),
  ('softmax', 'turns the last values into probabilities that sum to 1', 'none'),
)


def convolve(image: Map, kernel: SmallMap) -> FullConvolution:
  """The full two-dimensional convolution: the kernel flipped, zeros around the image."""
  height, width = kernel.shape
  # Networks correlate; flipping the kernel makes it a convolution.
  flipped = jnp.asarray(kernel[::-1, ::-1], jnp.float32)[:, :, None, None]
  border = ((height - 1, height - 1), (width - 1, width - 1))
  maps = jnp.asarray(image, jnp.float32)[None, :, :, None]
  found = conv(maps, flipped, None, (1, 1), border, (1, 1), groups=1, relu=False)
  return np.asarray(found)[0, :, :, 0]


def sobel(image: Map) -> SmallMap:
  """The strength of the gradient, sqrt(Gx^2 + Gy^2), scaled to 0..255; float32 [H + 2, W + 2]."""
  across = convolve(image, KERNELS['horizontal gradient'])
  down = convolve(image, KERNELS['vertical gradient'])
  strength = np.sqrt(across**2 + down**2)
  return strength * (255 / max(float(strength.max()), 1e-12))


def rectify(values: np.ndarray) -> np.ndarray:
  """ReLU: numbers of any shape; what is below 0 set to 0."""
  return np.maximum(values, 0)


def max_pool(values: Map, window: int = 2) -> SmallMap:
  """The largest value of each window: float32 [H, W] -> [H // window, W // window]."""
  pooled = MaxPool(window).apply({}, jnp.asarray(values, jnp.float32)[None, :, :, None])
  return np.asarray(pooled)[0, :, :, 0]


def layer_table() -> str:
  """The kinds of layers and their work, for the terminal."""
  titles = ('layer', 'what it does', 'parameters')
  widths = [max(len(row[column]) for row in (titles, *LAYERS)) for column in range(3)]
  return '\n'.join(
    '  '.join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
    for row in (titles, *LAYERS)
  )
