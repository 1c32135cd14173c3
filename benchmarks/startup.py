"""From the start of the process to the end of the first training step, with and without programs
kept from before.

  python -m benchmarks.startup --configs=cnn_adv,cnn_pkaur --systems=ours,keras_tensorflow

Medians: until the network could train (imports, assembly), and until the first step is done. A warm
cache was filled by a process before; systems that keep no programs gain nothing from it. Rows are
appended to the CSV file.
"""

import os
import pathlib
import statistics
import tempfile
from collections.abc import Sequence

from absl import app, flags

from benchmarks import tables
from benchmarks.workers import OURS, PEERS, Worker, processor

_CONFIGS = flags.DEFINE_list('configs', ['cnn_adv'], 'Names of configs.')
_SYSTEMS = flags.DEFINE_list('systems', ['ours'], f'Among {", ".join((*OURS, *PEERS))}.')
_REPEATS = flags.DEFINE_integer('repeats', 5, 'Processes of each kind.', lower_bound=1)
_OUT = flags.DEFINE_string('out', 'results/startup.csv', 'CSV file to append to.')


def main(argv: Sequence[str]) -> None:
  """Measures as the flags say; systems and caches take turns."""
  del argv
  rows = []
  for config in _CONFIGS.value:
    kinds = [(system, cache) for system in _SYSTEMS.value for cache in ('cold', 'warm')]
    times: dict[tuple[str, str], list[tuple[float, float]]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory(prefix='benchmark_cache_') as kept:
      for system in _SYSTEMS.value:
        _start(system, config, {'CIFAR_JAX_CACHE': f'{kept}/{system}'})
      for _ in range(_REPEATS.value):
        for system, cache in kinds:
          warm = {'CIFAR_JAX_CACHE': f'{kept}/{system}'} if cache == 'warm' else {}
          times[system, cache].append(_start(system, config, warm))
    for (system, cache), pairs in times.items():
      ready, done = (statistics.median(column) for column in zip(*pairs, strict=True))
      rows.append(
        {
          'config': config,
          'system': system,
          'cache': cache,
          'ready_seconds': round(ready, 2),
          'first_step_seconds': round(done, 2),
          'lowest': round(min(done for _, done in pairs), 2),
          'highest': round(max(done for _, done in pairs), 2),
          'repeats': len(pairs),
          'machine': f'{processor()}, {os.cpu_count()} cores',
        }
      )
      print(
        f'{config:15s} {system:16s} {cache} cache: ready after {ready:.1f} s, '
        f'first step done after {done:.1f} s (n = {len(pairs)})'
      )
  tables.append(pathlib.Path(_OUT.value), rows)


def _start(system: str, config: str, environment: dict[str, str]) -> tuple[float, float]:
  worker = Worker(system, f'configs/{config}.py', environment=environment)
  first = worker.measure(1)
  worker.close()
  return worker.start_seconds, worker.start_seconds + first.seconds


if __name__ == '__main__':
  app.run(main)
