"""Which processor there is, and which kind JAX is going to use; told before JAX starts."""

import contextlib
import functools
import importlib.util
import os
import pathlib
import platform
from collections.abc import Mapping

_ACCELERATOR_PACKAGES = ('jax_plugins', 'libtpu')


def runs_on_cpu(environment: Mapping[str, str] = os.environ) -> bool:
  """Whether JAX will choose the CPU: it was told to, or no accelerator's package is installed."""
  chosen = environment.get('JAX_PLATFORMS') or environment.get('JAX_PLATFORM_NAME')
  if chosen:
    return chosen.split(',')[0].strip().lower() == 'cpu'
  return not any(importlib.util.find_spec(package) for package in _ACCELERATOR_PACKAGES)


def processor_name() -> str:
  """Returns the name of the processor, such as 'AMD EPYC', as far as the system tells it."""
  return _linux_says().get('model name') or platform.processor() or platform.machine()


def features() -> frozenset[str]:
  """The processor's instruction sets, such as 'avx2', as Linux lists them; none elsewhere."""
  return frozenset(_linux_says().get('flags', '').split())


def kind() -> str:
  """A text that differs between processors for which compilers make different programs."""
  return ' '.join([platform.machine(), *sorted(features() or [platform.processor()])])


@functools.cache
def _linux_says() -> dict[str, str]:
  """What Linux lists of the processor, by name; {} elsewhere."""
  with contextlib.suppress(OSError):
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
    return {name.strip(): value.strip() for name, _, value in (x.partition(':') for x in lines)}
  return {}
