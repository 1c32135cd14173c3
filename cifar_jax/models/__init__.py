"""Networks: `create` makes one from a config, `register` adds one; each module here is found."""

import importlib
import pkgutil

from cifar_jax.models.registry import apply, create, names, register, takes_mask

__all__ = ['apply', 'create', 'names', 'register', 'takes_mask']

for _module in pkgutil.iter_modules(__path__):
  importlib.import_module(f'{__name__}.{_module.name}')
importlib.import_module(f'{__name__}.pretrained.classifier')
