"""Which processor there is, and which kind JAX is going to use; told before JAX starts."""

import contextlib
import functools
import importlib.util
import os
import pathlib
import platform
import re
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
  with contextlib.suppress(OSError), open('/proc/cpuinfo') as file:
    for line in file:
      if line.startswith('model name'):
        return line.partition(':')[2].strip()
  return platform.processor() or platform.machine()


@functools.cache
def features() -> frozenset[str]:
  """The processor's instruction sets, such as 'avx2', as Linux lists them; none elsewhere."""
  try:
    text = pathlib.Path('/proc/cpuinfo').read_text()
  except OSError:
    return frozenset()
  found = re.search(r'^flags\s*:(.*)$', text, re.MULTILINE)
  return frozenset(found[1].split()) if found else frozenset()


def kind() -> str:
  """A text that differs between processors for which compilers make different programs."""
  return ' '.join([platform.machine(), *sorted(features() or [platform.processor()])])
