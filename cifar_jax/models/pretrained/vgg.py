"""VGG16 and VGG19: "Very Deep Convolutional Networks for Large-Scale Image Recognition" (Simonyan
and Zisserman, 2014), with the names of Keras.
"""

import re
from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from cifar_jax import layers
from cifar_jax.models.pretrained.tensors import Place, convolution, dense, vector
from cifar_jax.utils.array_types import Images, MapsOrLogits, Mask

WIDTHS = (64, 128, 256, 512, 512)
_TOP = ('fc1', 'fc2', 'predictions')


class ImageNetVGG(nn.Module):
  """Five blocks of 3x3 convolutions, a max-pool after each; then three dense layers if asked for.

  Attributes:
    convolutions: The number of convolutions in each block: (2, 2, 3, 3, 3) is VGG16, (2, 2, 4, 4,
      4) is VGG19.
    num_classes: The width of the last dense layer; 0 leaves all three out.
  """

  convolutions: tuple[int, ...]
  num_classes: int = 0

  @nn.compact
  def __call__(self, images: Images, train: bool, mask: Mask | None = None) -> MapsOrLogits:
    """Maps [B, H // 32, W // 32, 512], or logits."""
    maps = images
    for block, (width, count) in enumerate(zip(WIDTHS, self.convolutions, strict=True), 1):
      for number in range(1, count + 1):
        name = f'block{block}_conv{number}'
        maps = layers.Conv(width, 3, activation='relu', name=name)(maps)
      maps = layers.MaxPool()(maps)
    if not self.num_classes:
      return maps
    vectors = layers.Flatten()(maps)
    vectors = layers.Dense(4096, activation='relu', name='fc1')(vectors)
    vectors = layers.Dense(4096, activation='relu', name='fc2')(vectors)
    return layers.Dense(self.num_classes, name='predictions')(vectors).astype(jnp.float32)


def from_keras(name: str, convolutions: tuple[int, ...]) -> Place | None:
  """Where a tensor of Keras belongs: 'block1_conv1/kernel' and so on."""
  layer, _, kind = name.rpartition('/')
  if kind not in ('kernel', 'bias') or not re.fullmatch(rf'block\d_conv\d|{"|".join(_TOP)}', layer):
    return None
  return Place('params', (layer, kind))


def from_torch(name: str, convolutions: tuple[int, ...]) -> Place | None:
  """Where a tensor of torchvision belongs: 'features.0.weight', 'classifier.6.bias'."""
  match = re.fullmatch(r'(features|classifier)\.(\d+)\.(weight|bias)', name)
  if not match:
    return None
  part, number, kind = match[1], int(match[2]), match[3]
  if part == 'features':
    layer = _torch_layers(convolutions).get(number)
    convert = convolution
  else:
    layer = dict(zip((0, 3, 6), _TOP, strict=True)).get(number)
    convert = _first_dense if number == 0 else dense
  if layer is None:
    return None
  if kind == 'bias':
    return Place('params', (layer, 'bias'), vector)
  return Place('params', (layer, 'kernel'), convert)


def _torch_layers(convolutions: tuple[int, ...]) -> Mapping[int, str]:
  """torchvision numbers convolutions, activations and pools through."""
  names, number = {}, 0
  for block, count in enumerate(convolutions, 1):
    for convolution_number in range(1, count + 1):
      names[number] = f'block{block}_conv{convolution_number}'
      number += 2
    number += 1
  return names


def _first_dense(array: np.ndarray) -> np.ndarray:
  """PyTorch flattens [512, 7, 7], channels first."""
  outputs = array.shape[0]
  return dense(array.reshape(outputs, 512, 7, 7).transpose(0, 2, 3, 1).reshape(outputs, -1))
