"""How much memory the host has, how the C library keeps it from step to step, and a limit to it.

XLA's CPU backend allocates all temporary arrays of a program, 100 to 500 MB, when it starts and
frees them when it ends. The C library of most Linux systems (glibc) returns blocks that large to
the kernel at once, which then hands out, and clears, the same pages again at the next step: tens of
thousands of page faults, a third of the time of a step. Told to keep them, it does not.

The price is that a process never shrinks below its peak, and that this peak is several times as
high: glibc 2.36 mostly finds that an aligned block that was freed is a few bytes too small for an
equal one (its bug 14581), so that the same arrays end up in five to ten places. Where they are
large, `keep_large_blocks(False)` hands them back all the same. Steps on gigabytes are then faster
as well, since each new place has to be cleared, too.

CIFAR_JAX_KEEP_MEMORY=off in the environment turns all of this off. With a GPU or TPU, where the
arrays are not here, it is not done.
"""

import contextlib
import ctypes
import os
import pathlib
import sys
from collections.abc import Mapping

from cifar_jax.startup.accelerators import runs_on_cpu

try:
  import resource
except ImportError:  # Windows has none
  resource = None  # type: ignore[assignment]

# Numbers of mallopt's parameters in <malloc.h>.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8
_MOST_MAPS = 65_536  # as glibc has it unless it is told otherwise
_LARGE = 2**25  # the largest threshold that it takes

_is_set = False  # whether the allocator, of which a process has one, is `configure_malloc`'s


def configure_malloc(environment: Mapping[str, str] = os.environ) -> bool:
  """Sets glibc's allocator to keep what is freed; to be called before threads start.

  Returns:
    Whether it was done: not if it is turned off, nor with another C library or an accelerator.
  """
  global _is_set
  if not runs_on_cpu(environment) or environment.get('CIFAR_JAX_KEEP_MEMORY') == 'off':
    return False
  # Large blocks come from the heap instead of maps of their own; from one heap, since those of
  # further threads hold no block above 64 MB; and the heap's end is not handed back.
  _is_set = _set(_M_ARENA_MAX, 1) and _set(_M_TRIM_THRESHOLD, -1) and _set(_M_MMAP_MAX, 0)
  return _is_set


def keep_large_blocks(keep: bool) -> None:
  """Says anew what becomes of freed blocks of 32 MiB and more; nothing happens where
  `configure_malloc` has set nothing.

  Args:
    keep: Whether they are kept. If not, each is a map of its own from now on, which goes back to
      the system with it; what is free at the moment is handed back.
  """
  if not _is_set:
    return
  _set(_M_MMAP_MAX, 0 if keep else _MOST_MAPS)
  if not keep:
    _set(_M_MMAP_THRESHOLD, _LARGE)
    give_back()


def _set(parameter: int, value: int) -> bool:
  libc = _glibc()
  return libc is not None and libc.mallopt(parameter, value) == 1


def available(group: pathlib.Path = pathlib.Path('/sys/fs/cgroup')) -> int | None:
  """Bytes that this process can still have; None where the system does not say.

  Args:
    group: The folder in which Linux keeps the bounds of a container.
  """
  found = []
  with contextlib.suppress(OSError), open('/proc/meminfo', encoding='utf-8') as file:
    sizes = {line.partition(':')[0]: int(line.split()[1]) * 1024 for line in file}
    found.append(sizes['MemAvailable'] + sizes['SwapFree'])
  with contextlib.suppress(OSError, ValueError):  # 'max': no bound
    bound = int((group / 'memory.max').read_text('utf-8'))
    used = int((group / 'memory.current').read_text('utf-8'))
    lines = (line.split() for line in (group / 'memory.stat').read_text('utf-8').splitlines())
    files = sum(int(count) for name, count in lines if name == 'file')  # given back on demand
    found.append(max(0, bound - used + files))
  return min(found, default=None)


def peak() -> int:
  """The largest number of bytes that this process has had in memory so far."""
  if resource is None:
    import psutil

    memory = psutil.Process().memory_info()
    return getattr(memory, 'peak_wset', memory.rss)
  unit = 1 if sys.platform == 'darwin' else 1024
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def limit(seconds: int, memory: int) -> None:
  """Ends this process where it takes more time or memory, if the system can; Windows cannot.

  Args:
    seconds: Of processors.
    memory: Bytes of addresses.
  """
  if resource is None:
    return
  for what, most in (
    (resource.RLIMIT_CPU, seconds),
    (resource.RLIMIT_AS, memory),
    (resource.RLIMIT_CORE, 0),
  ):
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (most if hard < 0 else min(most, hard), hard))


def give_back() -> bool:
  """Returns free pages of all heaps to the system; whether that could be done."""
  libc = _glibc()
  return libc is not None and libc.malloc_trim(0) == 1


def _glibc() -> ctypes.CDLL | None:
  """The C library of this process, if it is glibc."""
  if not sys.platform.startswith('linux'):
    return None
  libc = ctypes.CDLL(None)
  return libc if hasattr(libc, 'gnu_get_libc_version') else None
