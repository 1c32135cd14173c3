"""Which formulation a traced function gets."""

import contextlib
import contextvars
import functools
import importlib.metadata
import os
import pathlib
import platform
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

# Of jaxlib, whose calls of oneDNN are no public interface: another version may name them otherwise.
_TRIED_VERSIONS = ('0.10.2', '0.11.0', '0.11.1', '0.11.2', '0.12.0', '0.12.0.1')
_TRIED_MACHINES = ('x86_64', 'AMD64')

_plain = contextvars.ContextVar('_plain', default=False)
_whole = contextvars.ContextVar('_whole', default=False)


def use_cpu_forms() -> bool:
  """Whether the formulations for XLA on CPU apply; asked while a function is traced."""
  chosen = os.environ.get('CIFAR_JAX_CPU_FORMS') != 'off' and not _plain.get()
  return chosen and jax.default_backend() == 'cpu'


def use_library_calls(dtype: Any) -> bool:
  """Whether convolutions and products of this dtype are handed to oneDNN; asked while tracing."""
  chosen = use_cpu_forms() and os.environ.get('CIFAR_JAX_ONEDNN') != 'off'
  return chosen and has_library(jnp.dtype(dtype).name)


def is_on_one_device() -> bool:
  """Whether nothing is to be divided among devices; asked while a function is traced."""
  return _whole.get() or jax.device_count() == 1


@contextlib.contextmanager
def plain_forms() -> Iterator[None]:
  """What is traced within gets the formulations that XLA has names for."""
  token = _plain.set(True)
  try:
    yield
  finally:
    _plain.reset(token)


def on_one_device(function: Callable[..., Any]) -> Callable[..., Any]:
  """The function, of which every device is known to compute the whole."""

  @functools.wraps(function)
  def traced(*arguments: Any, **options: Any) -> Any:
    token = _whole.set(True)
    try:
      return function(*arguments, **options)
    finally:
      _whole.reset(token)

  return traced


@functools.cache
def has_library(dtype: str) -> bool:
  """Whether jaxlib and the processor are such that oneDNN has fast kernels for the dtype.

  Args:
    dtype: its name, such as 'float32'.
  """
  if platform.machine() not in _TRIED_MACHINES:
    return False
  if importlib.metadata.version('jaxlib') not in _TRIED_VERSIONS:
    return False
  needed = {'float32': 'avx2', 'bfloat16': 'avx512_bf16'}.get(dtype)
  return needed in _processor_features()


@functools.cache
def _processor_features() -> frozenset[str]:
  """As Linux lists them; none elsewhere."""
  try:
    text = pathlib.Path('/proc/cpuinfo').read_text()
  except OSError:
    return frozenset()
  found = re.search(r'^flags\s*:(.*)$', text, re.MULTILINE)
  return frozenset(found[1].split()) if found else frozenset()
