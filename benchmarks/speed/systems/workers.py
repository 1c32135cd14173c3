"""Processes that train in one system each, and wait until they are asked for a number of steps.

Flags, threads and memory belong to processes, so systems are compared across processes, which take
turns: each round measures all of them within seconds, so what else the machine does meanwhile hurts
them alike.

Systems:
  ours               as launch.py trains: XLA flags, memory kept, kernels for CPU
  ours_bfloat16      the same with --config.model.dtype=bfloat16
  plain              the same step of plain Flax and XLA operations under JAX's defaults
  keras_tensorflow   Keras 3, model.fit on TensorFlow
  keras_jax          Keras 3, model.fit on JAX
  pytorch            PyTorch, eager, channels last, float32
  pytorch_bfloat16   the same under autocast to bfloat16
  pytorch_compiled, pytorch_compiled_bfloat16
                     both with torch.compile

On a GPU launch.py makes all updates of an epoch in one dispatch; so does `ours`, an epoch being the
4,096 images that there are. PyTorch may round the factors of float32 products there as XLA does of
itself (TF32), and holds its images on the GPU.
"""

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent import futures
from typing import Any

from benchmarks import tables
from cifar_jax.startup import host_memory, xla_flags

OURS = ('ours', 'ours_bfloat16', 'plain')
PEERS = (
  *('keras_tensorflow', 'keras_jax', 'pytorch', 'pytorch_bfloat16'),
  *('pytorch_compiled', 'pytorch_compiled_bfloat16'),
)
EXAMPLES = 4096  # an epoch


@dataclasses.dataclass
class Measurement:
  """One turn of one process: `steps` updates; `peak_memory_mb` is that of the process so far."""

  steps: int
  seconds: float
  cpu_seconds: float
  peak_memory_mb: float


class Worker:
  """A process that trains.

  Attributes:
    batch_size: The number of images per step.
    version: The versions of the packages that matter.
    machine: The machine that it trains on.
    start_seconds: Seconds from the start of the process to a network that is ready to train.
  """

  def __init__(
    self,
    system: str,
    config: str,
    overrides: Sequence[str] = (),
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
  ) -> None:
    """Starts the process and waits until it could train.

    Args:
      system: The system to train with, one of those above.
      config: The path of the config file.
      overrides: Overrides of the config, such as '--config.batch_size=64'.
      python: An interpreter with the system and the requirements of this project.
      environment: Variables in addition to those of this process, JAX_PLATFORMS among them.
    """
    self._system = system
    # Programs compiled by another run would hide what compilation costs.
    self._cache = tempfile.TemporaryDirectory(prefix='benchmark_cache_')
    variables = {
      **os.environ,
      'TF_CPP_MIN_LOG_LEVEL': '3',
      'JAX_PLATFORMS': 'cpu',
      'XLA_PYTHON_CLIENT_PREALLOCATE': 'false',  # of a GPU, which others want to use too
      'PYTHONDONTWRITEBYTECODE': '',  # or each start would compile the sources of this project
      'CIFAR_JAX_CACHE': self._cache.name,
      **(environment or {}),
    }
    if system == 'plain':
      off = ('CIFAR_JAX_CPU_KERNELS', 'CIFAR_JAX_XLA_FLAGS', 'CIFAR_JAX_KEEP_MEMORY')
      variables |= dict.fromkeys(off, 'off')
    start = time.perf_counter()
    self._process = subprocess.Popen(
      [python, '-m', 'benchmarks.speed.systems.worker', system, config, *overrides],
      env=variables,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    self.batch_size, self.version, device = self._answer()
    self.machine = ', '.join(filter(None, [device, tables.machine()]))
    self.start_seconds = time.perf_counter() - start

  def measure(self, steps: int) -> Measurement:
    """Makes `steps` updates in the process."""
    assert self._process.stdin
    self._process.stdin.write(f'{steps}\n')
    self._process.stdin.flush()
    return Measurement(steps, *self._answer())

  def close(self) -> None:
    """Lets the process end."""
    self._process.communicate()
    self._cache.cleanup()

  def _answer(self) -> list:
    assert self._process.stdout
    line = self._process.stdout.readline()
    if not line:
      self.close()
      raise SystemExit(f'the process of {self._system} ended; its message is above')
    return json.loads(line)


def take_turns(
  start: Mapping[str, Callable[[], Worker]], repeats: int, seconds: float, beside: int = 1
) -> dict[str, dict[str, Any]]:
  """Measures all workers in turns; closes them.

  Args:
    start: What starts the worker of each name.
    repeats: The number of turns per worker.
    seconds: The approximate length of a turn in seconds.
    beside: How many start and compile at the same time. More than one save time on a machine of
      many cores; what starting costs is not told then.

  Returns:
    For each name the columns of a table: the median rate with the lowest and the highest, CPU time
    per image (user and system together over all threads, less disturbed by neighbors than the
    clock), the cost of starting, and the peak memory.
  """

  def prepare(name: str) -> tuple[Worker, float, int]:
    worker = start[name]()
    first = worker.measure(1)  # the first turns compile, warm caches and size the others
    worker.measure(2)
    trial = worker.measure(3)
    count, epoch = round(trial.steps * seconds / trial.seconds), EXAMPLES // worker.batch_size
    steps = max(2, count - count % epoch if count > epoch else count)
    worker.measure(steps)  # what is dispatched whole compiles here
    return worker, first.seconds, steps

  with futures.ThreadPoolExecutor(beside) as pool:
    prepared = dict(zip(start, pool.map(prepare, start), strict=True))
  turns: dict[str, list[Measurement]] = {name: [] for name in prepared}
  for _ in range(repeats):
    for name, (worker, _, steps) in prepared.items():
      turns[name].append(worker.measure(steps))
  columns = {}
  for name, (worker, first_step_seconds, steps) in prepared.items():
    batch = worker.batch_size
    rates = [turn.steps * batch / turn.seconds for turn in turns[name]]
    cpu_ms = [1e3 * turn.cpu_seconds / turn.steps / batch for turn in turns[name]]
    columns[name] = {
      'batch_size': batch,
      **tables.rates(rates),
      'cpu_ms_per_image': round(statistics.median(cpu_ms), 4),
      'start_seconds': round(worker.start_seconds, 2) if beside == 1 else '',
      'first_step_seconds': round(first_step_seconds, 2) if beside == 1 else '',
      'peak_memory_mb': round(turns[name][-1].peak_memory_mb),
      'repeats': repeats,
      'steps_per_repeat': steps,
      'version': worker.version,
      'machine': worker.machine,
    }
    worker.close()
  return columns


def set_up_process() -> None:
  """Does what launch.py does before JAX or a thread starts: keeps freed memory, sets XLA flags.

  What is set is inherited: a process that starts workers may call it after they have started.
  """
  host_memory.configure_malloc()
  xla_flags.set_flags()
