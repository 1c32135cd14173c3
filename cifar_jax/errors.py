"""The one exception that means "the user can mend this", and how it reaches the user."""

import contextlib
import sys
from collections.abc import Iterator


class UserError(Exception):
  """A mistake in the input, not in the program.

  The message is one sentence that says what is wrong, where, and what to do. `launch.py` and
  `python -m cifar_jax` print it without a traceback and exit with status 2.
  """


@contextlib.contextmanager
def reported_errors() -> Iterator[None]:
  """Ends the process with one line on stderr: status 2 for a UserError, 130 for Ctrl-C."""
  try:
    yield
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)
  except KeyboardInterrupt:
    print('interrupted', file=sys.stderr)
    sys.exit(130)
