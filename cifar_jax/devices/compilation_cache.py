"""Compiled programs are kept in the user's cache folder: those that can be."""

import atexit
import functools
import importlib
import threading
import warnings
from typing import Any

import jax

from cifar_jax.ops.onednn import CALLS
from cifar_jax.startup import processor
from cifar_jax.utils.paths import cache_folder

_STORING = threading.Lock()  # held while a program is written
_SECONDS_TO_STORE = 10  # for which the end of a process waits


def keep_compiled_programs() -> None:
  """Lets JAX keep compiled programs in the user's cache folder, unless a folder was chosen already.

  A program is compiled once for each network, batch size, device kind, set of XLA flags and number
  of cores; the next start reads it, whatever its seed.
  """
  _store_what_can_be()
  if jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
    return
  # Loops of a program for a CPU are divided among the cores that compiled it, and the key by which
  # JAX finds it says nothing of them.
  folder = cache_folder() / 'xla' / f'{len(processor.cores())}_cores'
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError:
    return  # no room or no permission: compile each time
  # What a full disk cannot take is compiled each time, which is no reason to alarm anybody.
  warnings.filterwarnings('ignore', 'Error writing persistent compilation cache', UserWarning)
  jax.config.update('jax_compilation_cache_dir', str(folder))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)


def _store_what_can_be() -> None:
  """Makes JAX compile programs with calls of oneDNN in each process, and write the others whole.

  XLA has no form in which it could store those calls, but tries: that ends in a MemoryError with
  jaxlib 0.10.2, and was seen to end the process (SIGSEGV) with 0.11.2 on a Xeon. JAX has no option
  for it that is a program's own. A program may be written by a thread that the end of the process
  does not wait for; JAX would not replace the half of it.
  """
  try:
    cache: Any = importlib.import_module('jax._src.compilation_cache')
    store = cache.put_executable_and_time
  except (ImportError, AttributeError):  # another JAX, which may have another way
    return
  if hasattr(store, '__wrapped__'):
    return

  @functools.wraps(store)
  def store_if_possible(key: str, name: str, executable: Any, *rest: Any, **options: Any) -> None:
    if any(CALLS in module.to_string() for module in executable.hlo_modules()):
      return
    with _STORING:
      store(key, name, executable, *rest, **options)

  cache.put_executable_and_time = store_if_possible
  atexit.register(_STORING.acquire, timeout=_SECONDS_TO_STORE)
