"""Flags of the XLA compiler that make training on CPU faster, or start sooner; imports no JAX, to
run before it.

JAX reads XLA_FLAGS once, when its CPU backend starts, and an unknown flag ends the process; so the
flags are tried first, in another process (`trials`). They change how sums are grouped, hence the
last bits of results, but not from run to run: the same program on the same number of cores gives
the same bits.

CIFAR_JAX_XLA_FLAGS=off in the environment turns this off.
"""

import os
import platform
import re
from collections.abc import MutableMapping

from cifar_jax.startup import trials
from cifar_jax.startup.accelerators import runs_on_cpu

_FLAGS = {
  # Hands matrix products and reductions to the kernels of YNNPACK, which jaxlib contains. Chains of
  # element-wise operations (eltwise) stay with XLA: YNNPACK writes out what is broadcast to maps
  # and every conversion of them. In trials on one machine the vector width, the scheduler and the
  # optimization presets made no difference to the speed that could be told from noise.
  '--xla_cpu_experimental_ynn_fusion_type': 'dot,reduce',
  # The default computes what it can as soon as it can: what the gradient makes of feature maps
  # alone, as copies in another order, it makes in the forward pass and keeps until then.
  '--xla_cpu_scheduler_type': 'CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED',
  # Half the time of compilation at the same speed of a step; with 0 a step takes ten times as long.
  '--xla_backend_optimization_level': '1',
}
_MACHINES = ('x86_64', 'AMD64')  # on which a gain was measured

# A product and sums, with the result known.
_TRIAL = """
import jax, numpy as np
a = np.random.default_rng(0).normal(size=(70, 90)).astype(np.float32)
b = a[:, :60].T.copy()
found = jax.jit(lambda a, b: ((b @ a).sum(0), a.mean(1), a.max(0)))(a, b)
for x, y in zip(found, ((b @ a).sum(0), a.mean(1), a.max(0)), strict=True):
  np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-3)
"""


def set_flags(environment: MutableMapping[str, str] = os.environ) -> str:
  """Adds flags to XLA_FLAGS where they are known to help; keeps those that the user set.

  Returns:
    One line that says what was done, for the log.
  """
  flags = _unset(environment)
  reason = _reason_against(environment, flags)
  if reason:
    return f'XLA flags: none added ({reason})'
  environment['XLA_FLAGS'] = ' '.join(filter(None, [environment.get('XLA_FLAGS', ''), flags]))
  return f'XLA flags: {flags}'


def _unset(environment: MutableMapping[str, str]) -> str:
  """Those of the flags that XLA_FLAGS does not set."""
  found = {re.split('[= ]', flag)[0] for flag in environment.get('XLA_FLAGS', '').split()}
  return ' '.join(f'{name}={value}' for name, value in _FLAGS.items() if name not in found)


def _reason_against(environment: MutableMapping[str, str], flags: str) -> str:
  """Why no flag is to be added; '' if nothing speaks against it."""
  before = environment.get('XLA_FLAGS', '').split()
  if environment.get('CIFAR_JAX_XLA_FLAGS', '') == 'off':
    return 'CIFAR_JAX_XLA_FLAGS=off'
  if before and not before[0].startswith('--'):
    return 'XLA_FLAGS names a file'
  if not flags:
    return 'XLA_FLAGS sets them'
  if not runs_on_cpu(environment):
    return 'not on CPU'
  if platform.machine() not in _MACHINES:
    return f'not measured on {platform.machine()}'
  return trials.objection('xla_flags', _TRIAL, flags)
