"""Which kernel a traced function gets: the reference, one for XLA on CPU, or oneDNN's.

Everything that decides this is here: the environment, the processor, and one context, which holds
for what is traced within it.
"""

import contextlib
import contextvars
import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from cifar_jax.startup import processor, trials

# What oneDNN's fast kernels are made of.
_NEEDED_FEATURE = {'float32': 'avx2', 'bfloat16': 'avx512_bf16'}


@dataclasses.dataclass(frozen=True)
class _Context:
  """What is known of the functions that are being traced.

  Attributes:
    reference: Whether they get the reference kernels.
    one_device: Whether every device computes the whole of them.
    platform: What they are compiled for; None for JAX's default.
  """

  reference: bool = False
  one_device: bool = False
  platform: str | None = None


_OUTERMOST = _Context()
_CONTEXT = contextvars.ContextVar('_CONTEXT', default=_OUTERMOST)


@contextlib.contextmanager
def _within(**changes: Any) -> Iterator[None]:
  token = _CONTEXT.set(dataclasses.replace(_CONTEXT.get(), **changes))
  try:
    yield
  finally:
    _CONTEXT.reset(token)


def reference_kernels() -> contextlib.AbstractContextManager[None]:
  """Returns a context in which the operations are traced as XLA has names for them."""
  return _within(reference=True)


def on_one_device(function: Callable[..., Any]) -> Callable[..., Any]:
  """Returns the function, of which every device is known to compute the whole."""

  @functools.wraps(function)
  def traced(*arguments: Any, **options: Any) -> Any:
    with _within(one_device=True):
      return function(*arguments, **options)

  return traced


def for_platform(function: Callable[..., Any], platform: str) -> Callable[..., Any]:
  """Returns the function, to be compiled for 'cpu', 'gpu' or 'tpu', whatever devices are here."""

  @functools.wraps(function)
  def traced(*arguments: Any, **options: Any) -> Any:
    with _within(platform=platform):
      return function(*arguments, **options)

  return traced


def target_platform() -> str:
  """Returns 'cpu', 'gpu' or 'tpu'; asked while a function is traced."""
  return _CONTEXT.get().platform or jax.default_backend()


def is_on_one_device() -> bool:
  """Returns whether nothing is to be divided among devices; asked while a function is traced."""
  return _CONTEXT.get().one_device or jax.device_count() == 1


def use_cpu_kernels() -> bool:
  """Returns whether the kernels for XLA on CPU apply; asked while a function is traced."""
  chosen = _chosen_by_environment() and not _CONTEXT.get().reference
  return chosen and target_platform() == 'cpu'


def use_library_calls(dtype: Any) -> bool:
  """Returns whether convolutions and products of a dtype are handed to oneDNN.

  It is asked while a function is traced.
  """
  return wants_library() and has_library(jnp.dtype(dtype).name)


def wants_library() -> bool:
  """Returns whether oneDNN is to be used where it works; asked while a function is traced."""
  return use_cpu_kernels() and os.environ.get('CIFAR_JAX_ONEDNN') != 'off'


def _chosen_by_environment() -> bool:
  if 'CIFAR_JAX_CPU_KERNELS' in os.environ:
    return os.environ['CIFAR_JAX_CPU_KERNELS'] != 'off'
  old = os.environ.get('CIFAR_JAX_CPU_FORMS')
  if old is not None:
    trials.say('the environment sets CIFAR_JAX_CPU_FORMS, now called CIFAR_JAX_CPU_KERNELS')
  return old != 'off'


def has_fast_kernels(dtype: str) -> bool:
  """Returns whether oneDNN has fast kernels of a dtype, such as 'float32', for the processor."""
  return _NEEDED_FEATURE.get(dtype) in processor.features()


def has_library(dtype: str) -> bool:
  """Returns whether oneDNN is fast on this processor, and works by the calls of `onednn`.

  If the calls do not work, every process says so in a line.
  """
  if not has_fast_kernels(dtype):
    return False
  objection = objection_to_library(dtype)
  if objection:
    trials.say(f'convolutions in {dtype} run without oneDNN, slowly: {objection}')
  return not objection


@functools.cache
def objection_to_library(dtype: str) -> str:
  """Returns why oneDNN's calls do not work; '' if they do.

  The first time with a version of jaxlib, they are tried in another process.
  """
  program = f'from cifar_jax.ops import self_test; self_test.check({dtype!r})'
  return trials.objection(f'onednn_{dtype}', program)
