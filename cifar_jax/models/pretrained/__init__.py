"""The networks for which published weights can be read."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import flax.linen as nn

from cifar_jax.models.pretrained import efficientnet_lite, resnet, vgg
from cifar_jax.models.pretrained.tensors import Place
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import did_you_mean


@dataclasses.dataclass(frozen=True)
class Network:
  """A network and how its published tensors are called.

  Attributes:
    make: (num_classes) -> the module; 0 classes leave out what follows the last maps.
    find: A function of a tensor's name for each format, 'keras' or 'torch', that says where it
      belongs.
    files: Names of the published files, without their tops and with them.
    ignored: Ends of the names of tensors that no network needs.
  """

  make: Callable[..., nn.Module]
  find: Mapping[str, Callable[[str], Place | None]]
  files: tuple[str, ...]
  ignored: tuple[str, ...] = ('num_batches_tracked',)


def _vgg(convolutions: tuple[int, ...], depth: int, digest: str) -> Network:
  keras = f'vgg{depth}_weights_tf_dim_ordering_tf_kernels'
  return Network(
    functools.partial(vgg.ImageNetVGG, convolutions),
    {
      'keras': functools.partial(vgg.from_keras, convolutions=convolutions),
      'torch': functools.partial(vgg.from_torch, convolutions=convolutions),
    },
    (f'{keras}_notop.h5', f'{keras}.h5', f'vgg{depth}-{digest}.pth'),
  )


def _resnet(blocks: tuple[int, ...], bottleneck: bool, files: tuple[str, ...]) -> Network:
  make = functools.partial(resnet.ImageNetResNet, blocks, bottleneck)
  return Network(make, {'torch': resnet.from_torch}, files)


NETWORKS: Mapping[str, Network] = {
  'vgg16': _vgg((2, 2, 3, 3, 3), 16, '397923af'),
  'vgg19': _vgg((2, 2, 4, 4, 4), 19, 'dcbb9e9d'),
  'resnet18': _resnet((2, 2, 2, 2), False, ('resnet18-f37072fd.pth', 'resnet18-5c106cde.pth')),
  'resnet50': _resnet(
    (3, 4, 6, 3), True, ('resnet50-0676ba61.pth', 'resnet50-11ad3fa6.pth', 'resnet50-19c8e357.pth')
  ),
  'efficientnet_lite0': Network(
    efficientnet_lite.EfficientNetLite,
    {'torch': efficientnet_lite.from_torch},
    ('efficientnet-lite0-57934424.pth',),
  ),
}


def network(name: str, flag: str) -> Network:
  """The network of that name; raises UserError, naming the flag, where there is none."""
  if name not in NETWORKS:
    raise UserError(f'--config.{flag}={name} is unknown{did_you_mean(name, NETWORKS)}')
  return NETWORKS[name]
