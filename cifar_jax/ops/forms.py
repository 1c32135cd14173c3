"""Which formulation a traced function gets."""

import os

import jax


def use_cpu_forms() -> bool:
  """Whether the formulations for XLA on CPU apply; asked while a function is traced."""
  return os.environ.get('CIFAR_JAX_CPU_FORMS') != 'off' and jax.default_backend() == 'cpu'
