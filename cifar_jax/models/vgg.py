"""VGG: "Very Deep Convolutional Networks for Large-Scale Image Recognition".

Simonyan and Zisserman (2015). A few lines in a config would do; this spares one the writing and
gives depth a name.
"""

from typing import Any

import jax.numpy as jnp

from cifar_jax.models.conv_net import ConvNet
from cifar_jax.models.fields import WIDTHS
from cifar_jax.models.registry import register
from cifar_jax.schema.constraints import one_of

_VGG = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


@register('vgg')
def vgg(
  num_classes: int,
  depth: int = 16,
  widths: tuple[int, ...] = (64, 128, 256, 512, 512),
  batch_norm: bool = True,
  head: tuple[str, ...] = ('flatten',),
  dtype: Any = jnp.float32,
) -> ConvNet:
  """Five blocks of 3x3 convolutions, each with a max-pool at its end.

  Args:
    num_classes: Number of logits.
    depth: 11, 13, 16 or 19, counting the three dense layers of the paper.
    widths: Filters of the five blocks.
    batch_norm: Whether there is a BatchNorm between each convolution and ReLU.
    head: Words for the layers after the last block, whose maps are 1x1 for images of 32x32; the
      paper's are ('flatten', 'dense 4096', 'dropout 0.5', 'dense 4096', 'dropout 0.5').
    dtype: Dtype of the computation.

  Raises:
    UserError: A field cannot be met.
  """
  one_of(*_VGG).check('model.depth', depth)
  WIDTHS.check('model.widths', widths)
  convolution = ('conv3 linear', 'batch_norm', 'relu') if batch_norm else ('conv3',)
  block = tuple((*(convolution * count), 'max_pool') for count in _VGG[depth])
  return ConvNet(num_classes, widths=widths, block=block, head=head, dtype=dtype)
