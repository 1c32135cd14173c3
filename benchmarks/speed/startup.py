"""From the start of the process to the end of the first training step, with and without programs
kept from before.

  python -m benchmarks startup --configs=cnn_adv,cnn_pkaur --systems=ours,keras_tensorflow

Medians: until the network could train (imports, assembly), and until the first step is done. A warm
cache was filled by a process before; systems that keep no programs gain nothing from it. Systems
and caches take turns. Rows are appended to the CSV file.
"""

import argparse
import statistics
import tempfile
from typing import Any

from benchmarks import command_line, tables
from benchmarks.speed.systems.workers import Worker
from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parser = parsing.add_verb(verbs, 'startup', run, 'seconds until the first step is done', __doc__)
  command_line.add_options(parser, configs='cnn_adv', systems='ours', repeats=5, out='startup')


def run(arguments: argparse.Namespace) -> None:
  """Measures and appends to the table."""
  rows = []
  for config in arguments.configs.split(','):
    kinds = [(system, cache) for system in arguments.systems for cache in ('cold', 'warm')]
    times: dict[tuple[str, str], list[tuple[float, float]]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory(prefix='benchmark_cache_') as kept:
      for system in arguments.systems:
        _start(system, config, {'CIFAR_JAX_CACHE': f'{kept}/{system}'})
      for _ in range(arguments.repeats):
        for system, cache in kinds:
          warm = {'CIFAR_JAX_CACHE': f'{kept}/{system}'} if cache == 'warm' else {}
          times[system, cache].append(_start(system, config, warm))
    for (system, cache), pairs in times.items():
      ready, done = (statistics.median(column) for column in zip(*pairs, strict=True))
      row = {
        'config': config,
        'system': system,
        'cache': cache,
        'ready_seconds': round(ready, 2),
        'first_step_seconds': round(done, 2),
        'lowest': round(min(done for _, done in pairs), 2),
        'highest': round(max(done for _, done in pairs), 2),
        'repeats': len(pairs),
        'machine': tables.machine(),
      }
      rows.append(row)
      print(
        f'{config:15s} {system:16s} {cache} cache: ready after {ready:.1f} s, '
        f'first step done after {done:.1f} s (n = {len(pairs)})'
      )
  tables.append(arguments.out, rows)


def time_first_step(system: str, config: str) -> float:
  """Seconds from the start of a process to the end of its first step, with an empty cache."""
  return _start(system, config, {})[1]


def _start(system: str, config: str, environment: dict[str, str]) -> tuple[float, float]:
  worker = Worker(system, f'configs/{config}.py', environment=environment)
  first = worker.measure(1)
  worker.close()
  return worker.start_seconds, worker.start_seconds + first.seconds
