"""One process at a time, on every system: the claim ends with the process, however that ends."""

import contextlib
import errno
import pathlib
from collections.abc import Callable, Iterator

_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextlib.contextmanager
def locked(path: pathlib.Path, on_wait: Callable[[], object]) -> Iterator[None]:
  """Keeps other processes, and threads, out of the block.

  Where the file system knows no locks, nobody is kept out.

  Args:
    path: A file for this alone, which is made.
    on_wait: Called where another one is in the block, before waiting for its end; it may raise.

  Raises:
    OSError: the file cannot be written.
  """
  import filelock  # asyncio comes with it, which takes a tenth of a second

  lock = filelock.FileLock(path)
  try:
    lock.acquire(timeout=0)
  except filelock.Timeout:
    on_wait()
    lock.acquire()
  except OSError as error:
    if error.errno not in _WITHOUT_LOCKS:
      raise
  try:
    yield
  finally:
    lock.release()
