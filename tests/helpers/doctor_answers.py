"""What the programs that the doctor runs may say."""

import collections

import packaging.requirements  # noqa: F401  Fake installations hide it.

from cifar_jax.commands.doctor.findings import Finding
from cifar_jax.startup.accelerators import Accelerator

GPU = Accelerator('cuda', 'NVIDIA GPU', '/dev/nvidia0')
Usage = collections.namedtuple('Usage', 'total used free')

PROBED = {
  'jax': '0.12.0.1',
  'import_seconds': 0.4,
  'start_seconds': 0.1,
  'backend': 'cpu',
  'devices': {'cpu': 1},
  'data': {'cifar10': '/data', 'mnist': None},
  'default_data': 'cifar10',
}

TRAINED = {
  'platform': 'cpu',
  'kind': 'cpu',
  'devices': 1,
  'flags': 'XLA flags: --a=b',
  'losses': [1.5, 0.5],
  'steps': 10,
  'resumed_steps': 10,
  'same_bits': True,
  'chosen': True,
  'library': ['float32'],
  'objections': {'float32': ''},
  'seconds': 7.0,
}


def one(check) -> Finding:
  (found,) = check()
  return found
