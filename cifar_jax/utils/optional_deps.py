"""Packages that only some of the work needs: optional, asked for in one sentence."""

import importlib
from typing import Any

from cifar_jax.utils.errors import UserError


def require(extra: str, *modules: str) -> list[Any]:
  """Imports modules of an optional extra of this package.

  Raises:
    UserError: one is missing; the message is the pip command that installs it.
  """
  try:
    return [importlib.import_module(module) for module in modules]
  except ModuleNotFoundError as error:
    raise UserError(
      f"this needs {error.name}, which is not installed; run pip install -e '.[{extra}]'"
    ) from None
