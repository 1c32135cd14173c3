"""A network trained by others below a head of one's own."""

import jax.numpy as jnp

from cifar_jax.models.conv_net import ConvNet, parse_head
from cifar_jax.models.fields import SPECS, Network
from cifar_jax.models.pretrained import network
from cifar_jax.models.registry import register
from cifar_jax.schema.constraints import BOOLEAN, TEXT, one_of
from cifar_jax.schema.options import option
from cifar_jax.utils.array_types import ClassLogits, Images, Maps, Mask, NewMaps
from cifar_jax.utils.errors import UserError

_BATCH_NORMS = ('frozen', 'trained')
_FEATURES = ('computed', 'cached')


@register('pretrained')
class Pretrained(Network):
  """The maps of a published network, then the words of a head.

  The parameters of the two are below 'base' and 'head'; so `config.optimizer.groups` can freeze all
  of the base, or some layers, or train them with a rate of their own.
  """

  network: str = option('efficientnet_lite0', TEXT)('The name of a published network.')
  weights: str = option('', TEXT)(
    "The file of the base's weights; '': they are looked for in the usual places; 'random': none "
    'are used.'
  )
  pooled: bool = option(True, BOOLEAN)(
    'Whether the head gets the average of each map instead of the map.'
  )
  head: tuple[str, ...] = option(('flatten',), SPECS)(
    'The words for the layers that turn feature maps into vectors, before the dense layer of '
    'logits.'
  )
  one_sigmoid: bool = option(False, BOOLEAN)(
    'The head ends in one unit instead of two, the log-odds of the second class; its loss is the '
    'binary cross-entropy.'
  )
  batch_norm: str = option('frozen', one_of(*_BATCH_NORMS))(
    "How BatchNorm of the base trains: 'frozen' uses its running statistics in training too and "
    "leaves them unchanged; 'trained' uses those of the batch."
  )
  features: str = option('computed', one_of(*_FEATURES))(
    "Whether the maps of the base are 'computed' in each step, or 'cached': the base is frozen, so "
    'the maps of all images are computed once and kept on disk.'
  )

  def check(self) -> None:
    """Raises UserError, as `Network.check` describes."""
    network(self.network, 'model.network')
    parse_head(self.head)

  def setup(self) -> None:
    """Makes the two parts."""
    self.base = network(self.network, 'model.network').make()
    outputs = 1 if self.one_sigmoid else self.num_classes
    self.head_layers = ConvNet(outputs, head=self.head, dtype=self.dtype, name='head')

  def __call__(self, inputs: Maps, train: bool, mask: Mask | None = None) -> ClassLogits:
    """Logits of images of 3 channels, normalized, or of maps that `base_maps` gave.

    Raises:
      UserError: one sigmoid for a number of classes other than two, or images that are not RGB.
    """
    if self.one_sigmoid and self.num_classes != 2:
      raise UserError(
        f'--config.model.one_sigmoid=True is for two classes, and the data have {self.num_classes}'
      )
    channels = inputs.shape[-1]
    if channels == 3:
      maps = self.base_maps(inputs, train, mask)
    # A network is made for images; maps that were kept come afterwards.
    elif self.features == 'cached' and not self.is_initializing():
      maps = inputs
    else:
      raise UserError(
        f'--config.model.network={self.network} takes images of 3 channels, and the data have '
        f'{channels}; --config.data.channels=3 makes them RGB'
      )
    logits = self.head_layers(maps, train, mask)
    # The softmax of (0, z) is (1 - sigmoid(z), sigmoid(z)).
    return jnp.pad(logits, ((0, 0), (1, 0))) if self.one_sigmoid else logits

  def base_maps(self, images: Images, train: bool = False, mask: Mask | None = None) -> NewMaps:
    """The last maps of the base, of 1x1 if they are pooled."""
    maps = self.base(images, train and self.batch_norm == 'trained', mask)
    return jnp.mean(maps, axis=(1, 2), keepdims=True) if self.pooled else maps
