"""Paths as users write them, and where this package keeps what it can make again."""

import os
import pathlib

from cifar_jax.utils.errors import UserError


def cache_folder() -> pathlib.Path:
  """$CIFAR_JAX_CACHE, else $XDG_CACHE_HOME/cifar_jax, else ~/.cache/cifar_jax."""
  if own := os.environ.get('CIFAR_JAX_CACHE'):
    return user_path(own)
  return user_cache() / 'cifar_jax'


def user_cache() -> pathlib.Path:
  """$XDG_CACHE_HOME, else ~/.cache."""
  return user_path(os.environ.get('XDG_CACHE_HOME') or '~/.cache')


def keras_folder() -> pathlib.Path:
  """$KERAS_HOME, else ~/.keras, where Keras keeps what it downloads."""
  return user_path(os.environ.get('KERAS_HOME') or '~/.keras')


def user_path(text: str) -> pathlib.Path:
  """A path as written, '~' at its start being the home folder.

  Raises:
    UserError: no file system could have it.
  """
  path = pathlib.Path(os.path.expanduser(text))
  try:
    path.exists()
  except OSError as error:
    raise UserError(f'{_shown(text)} is no path that can be used: {error.strerror}') from None
  return path


def run_path(text: str) -> pathlib.Path:
  """The folder of a run, as `user_path`.

  Raises:
    UserError: its name is not UTF-8, in which checkpoints are written.
  """
  path = user_path(text)
  try:
    str(path.absolute()).encode()
  except UnicodeEncodeError:
    raise UserError(
      f'{text!a} is no folder of a run: its name is not UTF-8, as checkpoints need; rename it'
    ) from None
  return path


def existing_path(option: str, text: str, remedy: str) -> pathlib.Path:
  """The path that an option of the config names, as `user_path`.

  Raises:
    UserError: nothing is there, or nothing can be.
  """
  try:
    path = user_path(text)
  except UserError as error:
    raise UserError(f'--config.{option}={error}; {remedy}') from None
  if not path.exists():
    raise UserError(f'--config.{option}={_shown(text)} does not exist; {remedy}')
  return path


def _shown(text: str) -> str:
  text = text if text.isprintable() else repr(text)
  return text if len(text) <= 100 else f'{text[:60]}... ({len(text)} letters)'
