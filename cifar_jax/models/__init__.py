"""Networks: `create` makes one from a config, `register` adds one."""

from cifar_jax.models import airbench_net as airbench_net
from cifar_jax.models import conv_net as conv_net
from cifar_jax.models import convnext as convnext
from cifar_jax.models import densenet as densenet
from cifar_jax.models import inception as inception
from cifar_jax.models import mobilenet_v2 as mobilenet_v2
from cifar_jax.models import patches as patches
from cifar_jax.models import preact_resnet as preact_resnet
from cifar_jax.models import resnet as resnet
from cifar_jax.models import vgg as vgg
from cifar_jax.models.pretrained import classifier as classifier
from cifar_jax.models.registry import apply, create, names, register, takes_mask

__all__ = ['apply', 'create', 'names', 'register', 'takes_mask']
