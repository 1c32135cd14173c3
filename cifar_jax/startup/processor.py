"""The processor: which kind JAX is going to use, told before it starts, and its name."""

import contextlib
import importlib.util
import os
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
  with contextlib.suppress(OSError), open('/proc/cpuinfo') as file:
    for line in file:
      if line.startswith('model name'):
        return line.partition(':')[2].strip()
  return platform.processor() or platform.machine()
