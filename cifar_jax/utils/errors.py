"""The one exception that means "the user can mend this", and how it reaches the user."""

import contextlib
import errno
import os
import re
import sys
from collections.abc import Iterator, Sequence

_STATUS_OF_SIGPIPE = 141  # as a shell gives it


class UserError(Exception):
  """A mistake in the input, not in the program.

  The message is one sentence that says what is wrong, where, and what to do. `launch.py` and
  `python -m cifar_jax` print it without a traceback and exit with status 2.
  A notebook shows it in place of a traceback, too.

  Attributes:
    details: What is too long for that sentence, a short line each; they are shown below it.
  """

  def __init__(self, message: str, details: Sequence[str] = ()):
    super().__init__(message)
    self.details = tuple(details)

  def _render_traceback_(self) -> list[str]:
    """The lines that are shown, by IPython in place of a traceback."""
    return [f'error: {self}', *(f'  {line}' for line in self.details)]


@contextlib.contextmanager
def as_user_error(what: str, remedy: str = '') -> Iterator[None]:
  """Turns whatever is raised, as damaged files make readers do, into one sentence.

  Args:
    what: Its beginning: what cannot be done.
    remedy: Its end.

  Raises:
    UserError: that sentence, with the reason in its middle; or the one that was raised.
  """
  try:
    yield
  except UserError:
    raise
  except Exception as error:
    reason = ' '.join(str(error).split())[:200]
    raise UserError(f'{what} ({type(error).__name__}: {reason}){remedy}') from error


def is_out_of_memory(error: BaseException) -> bool:
  """Whether an error of Python or of a device says that memory ran out."""
  said = re.search('RESOURCE_EXHAUSTED|Out of memory', str(error))
  return isinstance(error, MemoryError) or said is not None


@contextlib.contextmanager
def exit_on_user_error() -> Iterator[None]:
  """Ends the process with one line on stderr: status 2 for a UserError, a full disk or too little
  memory, 130 for Ctrl-C.

  Where the reader of the output has gone, as `head -1` does, it ends without a line and with the
  status of a program that SIGPIPE ended.
  """
  try:
    yield
    if sys.stdout is not None:
      sys.stdout.flush()
  except UserError as error:
    print(*error._render_traceback_(), sep='\n', file=sys.stderr)
    sys.exit(2)
  except KeyboardInterrupt:
    print('interrupted', file=sys.stderr)
    sys.exit(130)
  except OSError as error:
    if error.errno not in (errno.EPIPE, errno.ENOSPC):
      raise
    # What is still in the buffer would be written, and fail, once more at the end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
      sys.exit(_STATUS_OF_SIGPIPE)
    print(f'error: the output cannot be written: {error.strerror}', file=sys.stderr)
    sys.exit(2)
  except (MemoryError, RuntimeError) as error:  # JAX's errors are of the second kind
    if not is_out_of_memory(error):
      raise
    reason = ' '.join(str(error).split())[:200].rstrip('.') or type(error).__name__
    print(
      f'error: there is not enough memory ({reason}); close what else uses it; to train with less, '
      'use a smaller --config.batch_size or more --config.grad_accum_steps',
      file=sys.stderr,
    )
    sys.exit(2)
