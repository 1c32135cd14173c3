"""Folders: where this package keeps what it can make again, and those that a user names."""

import os
import pathlib

from cifar_jax.errors import UserError

_SHOWN = 500  # letters of a path in a message


def cache_folder() -> pathlib.Path:
  """$CIFAR_JAX_CACHE, else $XDG_CACHE_HOME/cifar_jax, else ~/.cache/cifar_jax."""
  if own := os.environ.get('CIFAR_JAX_CACHE'):
    return pathlib.Path(own).expanduser()
  return pathlib.Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache').expanduser() / 'cifar_jax'


def existing_path(option: str, text: str, remedy: str) -> pathlib.Path:
  """The path that an option names, `~` expanded.

  Raises:
    UserError: nothing is there, or nothing can be: a name too long, a user unknown, a NUL.
  """
  shown = text if text.isprintable() else repr(text)
  shown = shown if len(shown) <= _SHOWN else f'{shown[:_SHOWN]}...'
  try:
    path = pathlib.Path(text).expanduser()
    if path.exists():
      return path
  except (OSError, ValueError, RuntimeError) as error:
    reason = getattr(error, 'strerror', None) or str(error)
    raise UserError(f'--config.{option}={shown} is no path ({reason}); {remedy}') from None
  raise UserError(f'--config.{option}={shown} does not exist; {remedy}')
