"""One process at a time, on every system: the claim ends with the process, however that ends."""

import contextlib
import errno
import pathlib
import shutil
from collections.abc import Callable, Iterator

from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import disk_errors, make_folder, replacing

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


@contextlib.contextmanager
def new_folder(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """Gives an empty folder to write into, which then takes the place of `folder`, as of `replacing`;
  those around it are made.

  Raises:
    UserError: another process is writing that folder, or it cannot be written.
  """
  folder = folder.absolute()
  make_folder(folder.parent)
  lock = folder.with_name(f'.{folder.name}.lock')

  def refuse() -> None:
    if not lock.exists():  # nothing can be made there, which filelock takes for a claim
      raise OSError(errno.EACCES, f'no file can be made in {folder.parent}')
    raise UserError(
      f'another process is writing {folder}; wait for its end, or choose another folder'
    )

  with disk_errors(folder.parent), locked(lock, refuse):
    try:
      with replacing(folder) as draft:
        shutil.rmtree(draft, ignore_errors=True)  # of a process that was killed
        draft.mkdir()
        yield draft
    finally:
      with contextlib.suppress(OSError):  # Windows keeps what is open
        lock.unlink(missing_ok=True)
