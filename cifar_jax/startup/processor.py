"""Which processor there is; told before JAX starts."""

import contextlib
import functools
import pathlib
import platform


def processor_name() -> str:
  """Returns the name of the processor, such as 'AMD EPYC', as far as the system tells it."""
  return _linux_says().get('model name') or platform.processor() or platform.machine()


def features() -> frozenset[str]:
  """The processor's instruction sets, such as 'avx2', as Linux lists them; none elsewhere."""
  says = _linux_says()
  return frozenset((says.get('flags') or says.get('Features', '')).split())  # the latter on Arm


def kind() -> str:
  """A text that differs between processors for which compilers make different programs."""
  return ' '.join([platform.machine(), *sorted(features() or [platform.processor()])])


@functools.cache
def _linux_says() -> dict[str, str]:
  """What Linux lists of the processor, by name; {} elsewhere."""
  with contextlib.suppress(OSError):
    lines = pathlib.Path('/proc/cpuinfo').read_text('utf-8').splitlines()
    return {name.strip(): value.strip() for name, _, value in (x.partition(':') for x in lines)}
  return {}
