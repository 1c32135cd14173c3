"""Checks arrays that functions are called or traced with, see cifar_jax/utils/array_types.py."""

import inspect
from collections.abc import Callable
from typing import Any

import beartype
import jaxtyping

# As for type checkers, an int is a float.
_checked = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))

ROOMS = [
  f'cifar_jax.{room}'
  for room in (
    *('ops', 'layers', 'augment', 'optim', 'models', 'training', 'analysis', 'devices', 'weights'),
    *('run_dir', 'trainer', 'predict', 'figures', 'report', 'demos'),
  )
]


def install() -> None:
  """Checks the functions of `ROOMS`, which must not have been imported yet."""
  jaxtyping.install_import_hook(ROOMS, f'{__name__}.checked')


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
  """The function, checked if its annotations name shapes.

  Constructors of trees of arrays are not, since JAX calls them with whatever a tree is mapped to.
  """
  named = any('jaxtyping' in repr(annotation) for annotation in _annotations(function))
  return _checked(function) if named else function


def _annotations(function: Callable[..., Any]) -> list[Any]:
  signature = inspect.signature(function)
  return [parameter.annotation for parameter in signature.parameters.values()] + [
    signature.return_annotation
  ]
