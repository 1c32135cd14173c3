"""Networks: `create` makes one from a config, `register` adds one."""

from cifar_jax.models import airbench_net as airbench_net
from cifar_jax.models import conv_net as conv_net
from cifar_jax.models.registry import apply, create, names, register, takes_mask

__all__ = ['apply', 'create', 'names', 'register', 'takes_mask']
