"""Images per second of whole training steps: this project, its plain formulations, and peers.

  python -m benchmarks.throughput --configs=cnn_adv,cnn_pkaur,cnn_fchollet
  python -m benchmarks.throughput --systems=ours,pytorch --peers_python=PATH/python

Every system trains the network of the config from its own process, since flags and threads belong
to processes, on the same random images. The processes take turns: each repeat measures all of them
within seconds, so what else the machine does meanwhile hurts them alike; the median over repeats is
reported with the lowest and the highest value. CPU time, user and system together over all threads,
is less disturbed by neighbours than the clock.

Systems:
  ours               as launch.py trains: XLA flags, memory kept, forms for CPU
  plain              the same step of plain Flax and XLA operations under JAX's defaults
  keras_tensorflow   Keras 3, model.fit on TensorFlow
  keras_jax          Keras 3, model.fit on JAX
  pytorch            PyTorch, eager, channels last, float32
  pytorch_bfloat16   the same under autocast to bfloat16

`--peers_python` is an interpreter with the peers and the requirements of this project.
"""

import csv
import dataclasses
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from absl import app, flags

OURS = ('ours', 'plain')
PEERS = ('keras_tensorflow', 'keras_jax', 'pytorch', 'pytorch_bfloat16')

_CONFIGS = flags.DEFINE_list('configs', ['cnn_adv'], 'Names of files in configs/.')
_SYSTEMS = flags.DEFINE_list('systems', list(OURS), 'See above; the first one is the reference.')
_REPEATS = flags.DEFINE_integer('repeats', 9, 'Measurements of each system.', lower_bound=1)
_SECONDS = flags.DEFINE_float('seconds', 1.0, 'About how long one measurement takes.')
_PEERS_PYTHON = flags.DEFINE_string('peers_python', sys.executable, 'Interpreter for the peers.')
_OUT = flags.DEFINE_string('out', 'results/throughput.csv', 'CSV file to write.')


@dataclasses.dataclass
class Measurement:
  """One turn of one system: `steps` updates."""

  steps: int
  seconds: float
  cpu_seconds: float


class Worker:
  """A process that trains in one system; it idles until it is asked for a number of steps."""

  def __init__(self, system: str, config: str) -> None:
    self._system = system
    environment = {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3', 'JAX_PLATFORMS': 'cpu'}
    if system == 'plain':
      off = ('CIFAR_JAX_CPU_FORMS', 'CIFAR_JAX_XLA_FLAGS', 'CIFAR_JAX_KEEP_MEMORY')
      environment |= dict.fromkeys(off, 'off')
    python = _PEERS_PYTHON.value if system in PEERS else sys.executable
    self._process = subprocess.Popen(
      [python, '-m', 'benchmarks.throughput_worker', system, config],
      env=environment,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    self.batch_size, self.version = self._answer()

  def measure(self, steps: int) -> Measurement:
    """Runs steps in the process."""
    assert self._process.stdin
    self._process.stdin.write(f'{steps}\n')
    self._process.stdin.flush()
    return Measurement(steps, *self._answer())

  def close(self) -> None:
    """Lets the process end."""
    self._process.communicate()

  def _answer(self) -> list:
    assert self._process.stdout
    line = self._process.stdout.readline()
    if not line:
      raise SystemExit(f'the process of {self._system} ended; its message is above')
    return json.loads(line)


def measure_config(
  config: str, systems: Sequence[str], repeats: int, seconds: float
) -> list[dict[str, Any]]:
  """Returns a row of the table for each system."""
  workers = {system: Worker(system, config) for system in systems}
  steps = {}
  for system, worker in workers.items():  # the first turns warm caches and size the others
    worker.measure(2)
    trial = worker.measure(3)
    steps[system] = max(2, round(trial.steps * seconds / trial.seconds))
  turns: dict[str, list[Measurement]] = {system: [] for system in systems}
  for _ in range(repeats):
    for system, worker in workers.items():
      turns[system].append(worker.measure(steps[system]))
  rows = []
  for system, worker in workers.items():
    rates = [turn.steps * worker.batch_size / turn.seconds for turn in turns[system]]
    cpu = [1e3 * turn.cpu_seconds / turn.steps / worker.batch_size for turn in turns[system]]
    rows.append(
      {
        'config': config,
        'system': system,
        'batch_size': worker.batch_size,
        'images_per_second': round(statistics.median(rates), 1),
        'lowest': round(min(rates), 1),
        'highest': round(max(rates), 1),
        'cpu_ms_per_image': round(statistics.median(cpu), 4),
        'repeats': repeats,
        'steps_per_repeat': steps[system],
        'version': worker.version,
        'machine': f'{processor()}, {os.cpu_count()} cores',
      }
    )
    worker.close()
  return rows


def processor() -> str:
  """The name of the processor, as far as the system tells."""
  path = pathlib.Path('/proc/cpuinfo')
  lines = path.read_text().splitlines() if path.exists() else []
  names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
  return names[0] if names else platform.processor() or platform.machine()


def versions(*packages: str) -> str:
  """'jax 0.10.2, flax 0.12.8'."""
  return ', '.join(f'{package} {importlib.metadata.version(package)}' for package in packages)


def main(argv: Sequence[str]) -> None:
  """Measures as the flags say and writes the table."""
  del argv
  unknown = set(_SYSTEMS.value) - {*OURS, *PEERS}
  if unknown:
    raise app.UsageError(f'--systems: unknown: {", ".join(sorted(unknown))}')
  rows: list[dict[str, Any]] = []
  for config in _CONFIGS.value:
    rows += measure_config(config, _SYSTEMS.value, _REPEATS.value, _SECONDS.value)
    reference = next(row for row in rows if row['config'] == config)
    for row in rows:
      if row['config'] != config:
        continue
      row['ratio'] = round(row['images_per_second'] / reference['images_per_second'], 3)
      print(
        f'{config:14s} {row["system"]:18s} {row["images_per_second"]:8.0f} images/s '
        f'({row["lowest"]:.0f} to {row["highest"]:.0f}), x{row["ratio"]:.2f}, '
        f'{row["cpu_ms_per_image"]:.3f} ms of CPU an image',
        flush=True,
      )
  out = pathlib.Path(_OUT.value)
  out.parent.mkdir(parents=True, exist_ok=True)
  with out.open('w', newline='') as file:
    writer = csv.DictWriter(file, fieldnames=rows[0])
    writer.writeheader()
    writer.writerows(rows)


if __name__ == '__main__':
  app.run(main)
