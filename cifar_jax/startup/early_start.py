"""What is begun before it is asked for, beside the imports of a command."""

import contextlib
import threading

from cifar_jax.startup.accelerators import CANNOT_START, runs_on_cpu


def start_accelerator() -> None:
  """Starts JAX's accelerator in a thread, if there is one: that takes seconds, the first array on
  it another. Whoever asks JAX for devices waits for it, and is told what failed.
  """
  if runs_on_cpu():
    return

  def start() -> None:
    import jax

    with contextlib.suppress(*CANNOT_START):
      jax.device_put(0.0).block_until_ready()

  with contextlib.suppress(RuntimeError):  # the system has no more threads
    threading.Thread(target=start, name='starts the accelerator', daemon=True).start()
