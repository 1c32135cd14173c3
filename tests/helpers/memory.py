"""How much memory a piece of a test takes, where the system says so."""

import contextlib
import importlib
from collections.abc import Iterator

_MOST = 200 << 20  # bytes


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
  """Raises AssertionError where the process grows beyond the most it ever had, by 200 MiB or more;
  does nothing on Windows.
  """
  try:
    resource = importlib.import_module('resource')
  except ModuleNotFoundError:
    yield
    return
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  yield
  grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
  assert grown < _MOST, f'{grown:,} bytes more'
