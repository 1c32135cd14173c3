"""One training process at a time in a run's folder."""

import contextlib
import pathlib
from collections.abc import Iterator

from cifar_jax.errors import UserError

try:
  import fcntl
except ImportError:  # Windows has none
  fcntl = None  # type: ignore[assignment]

LOCK_NAME = '.lock'


@contextlib.contextmanager
def only_one(run: pathlib.Path) -> Iterator[None]:
  """Keeps others out of a run's folder; a process that is killed lets them in at once.

  Two processes would delete each other's checkpoints and mix their rows in metrics.csv. Where the
  system or the file system knows no locks, nobody is kept out.

  Args:
    run: the folder, which exists.

  Raises:
    UserError: another process trains there.
  """
  if fcntl is None:
    yield
    return
  try:
    file = (run / LOCK_NAME).open('w')
  except OSError as error:
    raise UserError(f'cannot write in the run folder {run}: {error.strerror}') from error
  with file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise UserError(
        f'another process is training in {run}; wait for it, stop it with Ctrl-C or SIGTERM, or '
        'choose another --workdir'
      ) from None
    except OSError:  # a network file system without locks
      pass
    yield
