"""Flags of the XLA compiler that make training on CPU faster; imports no JAX, to run before it.

JAX reads XLA_FLAGS once, when its CPU backend starts, and an unknown flag ends the process; so
flags are chosen only for versions of jaxlib on which they were tried. They change how sums are
grouped, hence the last bits of results, but not from run to run: the same program on the same
number of cores gives the same bits.

CIFAR_JAX_XLA_FLAGS=off in the environment turns this off.
"""

import importlib.metadata
import os
import platform
import re
from collections.abc import MutableMapping

from cifar_jax.startup.processor import runs_on_cpu

# Hands matrix products and reductions to the kernels of YNNPACK, which jaxlib contains. Chains of
# element-wise operations (eltwise) stay with XLA: YNNPACK writes out what is broadcast to maps and
# every conversion of them. In trials on one machine the vector width, the scheduler and the
# optimisation presets made no difference that could be told from noise.
_FLAG = '--xla_cpu_experimental_ynn_fusion_type'
_VALUE = 'dot,reduce'
_TRIED_VERSIONS = (
  *('0.10.0', '0.10.1', '0.10.2', '0.11.0', '0.11.1', '0.11.2', '0.12.0', '0.12.0.1'),
)
_TRIED_MACHINES = ('x86_64', 'AMD64')


def set_flags(environment: MutableMapping[str, str] = os.environ) -> str:
  """Adds flags to XLA_FLAGS where they are known to help; keeps those that the user set.

  Args:
    environment: the variables to read and to change.

  Returns:
    One line that says what was done, for the log.
  """
  reason = _reason_against(environment)
  if reason:
    return f'XLA flags: none added ({reason})'
  flag = f'{_FLAG}={_VALUE}'
  environment['XLA_FLAGS'] = ' '.join(filter(None, [environment.get('XLA_FLAGS', ''), flag]))
  return f'XLA flags: {flag}'


def _reason_against(environment: MutableMapping[str, str]) -> str:
  """Why no flag is to be added; '' if nothing speaks against it."""
  flags = environment.get('XLA_FLAGS', '').split()
  if environment.get('CIFAR_JAX_XLA_FLAGS', '') == 'off':
    return 'CIFAR_JAX_XLA_FLAGS=off'
  if flags and not flags[0].startswith('--'):
    return 'XLA_FLAGS names a file'
  if any(re.split('[= ]', flag)[0] == _FLAG for flag in flags):
    return 'XLA_FLAGS sets them'
  if not runs_on_cpu(environment):
    return 'not on CPU'
  if platform.machine() not in _TRIED_MACHINES:
    return f'not tried on {platform.machine()}'
  version = _jaxlib_version()
  if version not in _TRIED_VERSIONS:
    return f'not tried with jaxlib {version}'
  return ''


def _jaxlib_version() -> str:
  try:
    return importlib.metadata.version('jaxlib')
  except importlib.metadata.PackageNotFoundError:
    return 'of unknown version'
