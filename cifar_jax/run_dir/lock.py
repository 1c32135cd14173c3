"""One training process at a time in a run's folder, and only while that folder is there."""

import contextlib
import functools
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import NoReturn

from cifar_jax.config import CONFIG_NAME
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.locks import locked

LOCK_NAME = '.lock'


class RunLockedError(UserError):
  """Another process trains in the run's folder."""


@contextlib.contextmanager
def run_lock(run: pathlib.Path) -> Iterator[Callable[[], None]]:
  """Keeps others out of a run's folder; a process that is killed lets them in at once.

  Yields a function that raises UserError if the folder, which must exist, was deleted or is another
  process's by now: what is written into it would be a part of no run, or of another one.

  Two processes would delete each other's checkpoints and mix their rows in metrics.csv. Where the
  file system knows no locks, nobody is kept out.

  Raises:
    RunLockedError: another process trains there.
    UserError: the folder cannot be written.
  """
  with contextlib.ExitStack() as stack:
    try:
      stack.enter_context(locked(run / LOCK_NAME, functools.partial(_refuse, run)))
      own = (run / LOCK_NAME).stat()
    except OSError as error:
      raise UserError(f'cannot write in the run folder {run}: {error.strerror}') from error
    yield functools.partial(_check, run, own)


def locked_files() -> frozenset[int] | None:
  """The numbers (inodes) of the files that some process holds a lock of, without trying to lock
  any: a run that begins at that moment would be turned away. None where the system does not tell,
  as outside of Linux.
  """
  try:
    lines = pathlib.Path('/proc/locks').read_text('utf-8').splitlines()
  except OSError:
    return None
  places = (line.split()[5] for line in lines if '->' not in line)  # those behind it wait
  return frozenset(int(place.rpartition(':')[2]) for place in places)


def _refuse(run: pathlib.Path) -> NoReturn:
  raise RunLockedError(
    f'another process is training in {run}; wait for it, stop it with Ctrl-C or SIGTERM, or '
    'choose another --workdir'
  )


def _check(run: pathlib.Path, own: os.stat_result) -> None:
  if not (run / CONFIG_NAME).is_file():
    raise UserError(
      f'{run} or the {CONFIG_NAME} in it was deleted while the run was training, which has '
      'stopped; the same command starts it again, from what is left'
    )
  with contextlib.suppress(FileNotFoundError):
    if not os.path.samestat(own, (run / LOCK_NAME).stat()):
      raise UserError(
        f'{run} was deleted and made again while the run was training, which has stopped; '
        'choose another --workdir for one of the two'
      )
