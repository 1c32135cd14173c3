"""Compiled programs that outlive a process."""

import warnings

import jax

from cifar_jax.utils.paths import cache_folder


def keep_compiled_programs() -> None:
  """Lets JAX keep compiled programs in the user's cache folder, unless a folder was chosen already.

  A program is compiled once for each network, batch size, device kind and set of XLA flags; the
  next start reads it, whatever its seed.
  """
  if jax.config.jax_compilation_cache_dir:  # type: ignore[attr-defined]
    return
  folder = cache_folder() / 'xla'
  try:
    folder.mkdir(parents=True, exist_ok=True)
  except OSError:
    return  # no room or no permission: compile each time
  # What cannot be stored is compiled each time, which is no reason to alarm anybody: a full disk,
  # or calls of oneDNN (see ops/onednn.py).
  warnings.filterwarnings('ignore', 'Error writing persistent compilation cache', UserWarning)
  jax.config.update('jax_compilation_cache_dir', str(folder))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)
