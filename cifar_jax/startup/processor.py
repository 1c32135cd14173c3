"""Which processor there is, and which of its cores a process may use; told before JAX starts."""

import contextlib
import functools
import itertools
import os
import pathlib
import platform
from collections.abc import Iterator, Sequence

_TOPOLOGY = '/sys/devices/system/cpu/cpu{}/topology'  # of Linux; absent elsewhere


def processor_name() -> str:
  """Returns the name of the processor, such as 'AMD EPYC', as far as the system tells it."""
  return _linux_says().get('model name') or platform.processor() or platform.machine()


def described() -> str:
  """Returns 'AMD EPYC, 2 cores', of which those are counted that this process may use."""
  return f'{processor_name()}, {counted(len(cores()))}'


def counted(number: int) -> str:
  """Returns '1 core' or '2 cores'."""
  return f'{number} core{"" if number == 1 else "s"}'


def features() -> frozenset[str]:
  """The processor's instruction sets, such as 'avx2', as Linux lists them; none elsewhere."""
  says = _linux_says()
  return frozenset((says.get('flags') or says.get('Features', '')).split())  # the latter on Arm


def kind() -> str:
  """A text that differs between processors for which compilers make different programs."""
  return ' '.join([platform.machine(), *sorted(features() or [platform.processor()])])


def cores() -> list[int]:
  """Returns the numbers of the cores that this process may use, ascending; where the system keeps
  no process to some of its cores, all there are.
  """
  if hasattr(os, 'sched_getaffinity'):
    return sorted(os.sched_getaffinity(0))
  return list(range(os.cpu_count() or 1))


def shares(count: int) -> list[tuple[int, ...]]:
  """Divides the cores that this process may use among others, to one core; what belongs to one
  physical core goes to the same of them, as far as that comes out even. Where there are fewer
  cores, each gets one, from the first one on again.

  Args:
    count: How many processes there are.

  Returns:
    The numbers of the cores of each; () where the system keeps no process to some of its cores.
  """
  if not hasattr(os, 'sched_setaffinity'):
    return [()] * count
  numbers = sorted(cores(), key=_place)
  if count >= len(numbers):
    return [(numbers[index % len(numbers)],) for index in range(count)]
  ends = [len(numbers) * index // count for index in range(count + 1)]
  return [tuple(numbers[start:end]) for start, end in itertools.pairwise(ends)]


@contextlib.contextmanager
def starting_on(share: Sequence[int]) -> Iterator[None]:
  """Keeps to some cores what this thread starts in the block, processes and threads, for good.

  Args:
    share: As `shares` returns it; of () nothing is done, nor where the system refuses.
  """
  before = os.sched_getaffinity(0) if share else ()
  try:
    if share:
      with contextlib.suppress(OSError):  # a core was taken from the container meanwhile
        os.sched_setaffinity(0, share)
    yield
  finally:
    if before:
      with contextlib.suppress(OSError):
        os.sched_setaffinity(0, before)


def _place(number: int) -> tuple[int, int, int]:
  """Where a core is: its package, its physical core in that, its number; as far as Linux tells."""
  found = [0, 0]
  with contextlib.suppress(OSError, ValueError):
    folder = pathlib.Path(_TOPOLOGY.format(number))
    names = ('physical_package_id', 'core_id')
    found = [int((folder / name).read_text('utf-8')) for name in names]
  return found[0], found[1], number


@functools.cache
def _linux_says() -> dict[str, str]:
  """What Linux lists of the processor, by name; {} elsewhere."""
  with contextlib.suppress(OSError):
    lines = pathlib.Path('/proc/cpuinfo').read_text('utf-8').splitlines()
    return {name.strip(): value.strip() for name, _, value in (x.partition(':') for x in lines)}
  return {}
