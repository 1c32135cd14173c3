"""What tests of damaged files expect of a reader."""

import contextlib
from collections.abc import Iterator

from cifar_jax.utils.errors import UserError


@contextlib.contextmanager
def only_user_errors(naming: str) -> Iterator[None]:
  """Accepts success and a UserError that names the file; whatever else is raised passes through."""
  try:
    yield
  except UserError as error:
    if naming not in str(error):
      raise AssertionError(f'the message does not name {naming}') from error
