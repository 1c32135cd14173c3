"""How the cost of a training step grows with one option of a config.

  python -m benchmarks.scaling --option=batch_size --values='16;32;64;128;256;512;1024'
  python -m benchmarks.scaling --option=model.widths --values='(32,64,128);(64,128,256)'
  python -m benchmarks.scaling --option=devices --values='1;2;4;8'

A process trains for each value, and they take turns (see workers.py). With `devices` the processor
poses as that many of them. Rows are appended to the CSV file.
"""

import pathlib
from collections.abc import Sequence

from absl import app, flags

from benchmarks import tables
from benchmarks.workers import Worker, take_turns

_CONFIG = flags.DEFINE_string('config', 'configs/cnn_adv.py', 'Path of the config file.')
_OPTION = flags.DEFINE_string('option', 'batch_size', 'The option that varies.')
_VALUES = flags.DEFINE_string('values', '32;128;512', 'Its values, separated by semicolons.')
_SYSTEM = flags.DEFINE_string('system', 'ours', 'See workers.py.')
_REPEATS = flags.DEFINE_integer('repeats', 7, 'Measurements of each value.', lower_bound=1)
_SECONDS = flags.DEFINE_float('seconds', 1.0, 'About how long one measurement takes.')
_OUT = flags.DEFINE_string('out', 'results/scaling.csv', 'CSV file to append to.')


def main(argv: Sequence[str]) -> None:
  """Measures as the flags say."""
  del argv
  workers = {}
  for value in _VALUES.value.split(';'):
    devices = {'JAX_NUM_CPU_DEVICES': value} if _OPTION.value == 'devices' else {}
    override = f'--config.{_OPTION.value}={value}'
    workers[value] = Worker(_SYSTEM.value, _CONFIG.value, [override], environment=devices)
  rows = []
  for value, columns in take_turns(workers, _REPEATS.value, _SECONDS.value).items():
    row = {
      'config': pathlib.Path(_CONFIG.value).stem,
      'system': _SYSTEM.value,
      'option': _OPTION.value,
      'value': value,
      'step_ms': round(1e3 * columns['batch_size'] / columns['images_per_second'], 2),
      **columns,
    }
    rows.append(row)
    print(
      f'{_OPTION.value} {value:>14s}: {row["step_ms"]:9.1f} ms a step, '
      f'{row["images_per_second"]:7.0f} images/s ({row["lowest"]:.0f} to {row["highest"]:.0f}), '
      f'{row["peak_memory_mb"]} MiB'
    )
  tables.append(pathlib.Path(_OUT.value), rows)


if __name__ == '__main__':
  app.run(main)
