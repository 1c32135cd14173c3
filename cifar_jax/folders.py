"""Where this package keeps what it can make again."""

import os
import pathlib


def cache_folder() -> pathlib.Path:
  """$CIFAR_JAX_CACHE, else $XDG_CACHE_HOME/cifar_jax, else ~/.cache/cifar_jax."""
  if own := os.environ.get('CIFAR_JAX_CACHE'):
    return pathlib.Path(own).expanduser()
  return pathlib.Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'cifar_jax'
