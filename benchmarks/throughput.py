"""Images per second of whole training steps: this project, its plain formulations, and peers.

  python -m benchmarks.throughput --configs=cnn_adv,cnn_pkaur,cnn_fchollet
  python -m benchmarks.throughput --systems=ours,pytorch --peers_python=PATH/python

Every system trains the network of the config on the same random images, in turns; the systems and
how they are compared are described in workers.py. Augmentation, where the config has it, is ours
alone: peers train without. `first_step_seconds` is what the first step takes with no compiled
program kept from before.

On a GPU, `--platform=cuda`; PyTorch is the peer there.

`--peers_python` is an interpreter with the peers and the requirements of this project.
"""

import csv
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import app, flags

from benchmarks.workers import OURS, PEERS, PLATFORMS, Worker, take_turns

_CONFIGS = flags.DEFINE_list('configs', ['cnn_adv'], 'Names of files in configs/.')
_SYSTEMS = flags.DEFINE_list('systems', list(OURS), 'See workers.py; the first: the reference.')
_REPEATS = flags.DEFINE_integer('repeats', 9, 'Measurements of each system.', lower_bound=1)
_SECONDS = flags.DEFINE_float('seconds', 1.0, 'About how long one measurement takes.')
_PEERS_PYTHON = flags.DEFINE_string('peers_python', sys.executable, 'Interpreter for the peers.')
_OVERRIDES = flags.DEFINE_multi_string('override', [], "As in '--override=--config.batch_size=64'.")
_PLATFORM = flags.DEFINE_enum('platform', 'cpu', PLATFORMS, 'What to train on.')
_OUT = flags.DEFINE_string('out', 'results/throughput.csv', 'CSV file to write.')


def main(argv: Sequence[str]) -> None:
  """Measures as the flags say and writes the table."""
  del argv
  unknown = set(_SYSTEMS.value) - {*OURS, *PEERS}
  if unknown:
    raise app.UsageError(f'--systems: unknown: {", ".join(sorted(unknown))}')
  rows: list[dict[str, Any]] = []
  for config in _CONFIGS.value:
    workers = {
      system: Worker(
        system,
        f'configs/{config}.py',
        _OVERRIDES.value,
        _PEERS_PYTHON.value if system in PEERS else sys.executable,
        platform=_PLATFORM.value,
      )
      for system in _SYSTEMS.value
    }
    measured = take_turns(workers, _REPEATS.value, _SECONDS.value)
    reference = measured[_SYSTEMS.value[0]]['images_per_second']
    for system, columns in measured.items():
      ratio = round(columns['images_per_second'] / reference, 3)
      overrides = ' '.join(_OVERRIDES.value)
      row = {'config': config, 'overrides': overrides, 'system': system, **columns, 'ratio': ratio}
      rows.append(row)
      print(
        f'{config:14s} {system:18s} {row["images_per_second"]:8.0f} images/s '
        f'({row["lowest"]:.0f} to {row["highest"]:.0f}), x{ratio:.2f}, '
        f'{row["cpu_ms_per_image"]:.3f} ms of CPU an image, first step '
        f'{row["first_step_seconds"]:.1f} s, {row["peak_memory_mb"]} MiB',
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
