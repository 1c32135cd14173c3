"""From the start of the process to the end of the first training step, with and without programs
kept from before.

  python -m benchmarks.startup --config=configs/cnn_adv.py --repeats=5

Prints medians: until the network could train (imports, assembly), and until the first step is done.
"""

import statistics
import tempfile
from collections.abc import Sequence

from absl import app, flags

from benchmarks.workers import Worker

_CONFIG = flags.DEFINE_string('config', 'configs/cnn_adv.py', 'Path of the config file.')
_REPEATS = flags.DEFINE_integer('repeats', 5, 'Processes of each kind.', lower_bound=1)


def main(argv: Sequence[str]) -> None:
  """Measures as the flags say."""
  del argv
  with tempfile.TemporaryDirectory(prefix='benchmark_cache_') as kept:
    _start({'CIFAR_JAX_CACHE': kept})
    kinds = {'cold cache': {}, 'warm cache': {'CIFAR_JAX_CACHE': kept}}
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for _ in range(_REPEATS.value):
      for kind, environment in kinds.items():
        times[kind].append(_start(environment))
  for kind, pairs in times.items():
    ready, done = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
      f'{kind}: ready after {ready:.1f} s, first step done after {done:.1f} s (n = {len(pairs)})'
    )


def _start(environment: dict[str, str]) -> tuple[float, float]:
  worker = Worker('ours', _CONFIG.value, environment=environment)
  first = worker.measure(1)
  worker.close()
  return worker.start_seconds, worker.start_seconds + first.seconds


if __name__ == '__main__':
  app.run(main)
