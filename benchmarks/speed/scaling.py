"""How the cost of a training step grows with one option of a config.

  python -m benchmarks scaling --option=batch_size --values='16;32;64;128;256;512;1024'
  python -m benchmarks scaling --option=model.widths --values='(32,64,128);(64,128,256)'
  python -m benchmarks scaling --option=devices --values='1;2;4;8'

A process trains for each value, and they take turns. With `devices`, the processor simulates
that many devices. Rows are appended to the CSV file.
"""

import argparse
import functools
import pathlib
from typing import Any

from benchmarks import command_line, tables
from benchmarks.speed.systems.workers import OURS, PEERS, Worker, take_turns
from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parser = parsing.add_verb(verbs, 'scaling', run, 'step time over values of an option', __doc__)
  command_line.add_options(
    parser, config='configs/cnn_adv.py', repeats=7, seconds=1.0, out='scaling'
  )
  parser.add_argument('--option', default='batch_size', help='what varies; default: batch_size')
  parser.add_argument('--values', default='32;128;512', help='of the option; default: %(default)s')
  parser.add_argument('--system', default='ours', choices=(*OURS, *PEERS), help='default: ours')


def run(arguments: argparse.Namespace) -> None:
  """Measures and appends to the table."""
  option, system = arguments.option, arguments.system
  workers = {}
  for value in arguments.values.split(';'):
    devices = {'JAX_NUM_CPU_DEVICES': value} if option == 'devices' else {}
    override = f'--config.{option}={value}'
    workers[value] = functools.partial(
      Worker, system, arguments.config, [override], environment=devices
    )
  rows = []
  for value, columns in take_turns(workers, arguments.repeats, arguments.seconds).items():
    row = {
      'config': pathlib.Path(arguments.config).stem,
      'system': system,
      'option': option,
      'value': value,
      'step_ms': round(1e3 * columns['batch_size'] / columns['images_per_second'], 2),
      **columns,
    }
    rows.append(row)
    print(
      f'{option} {value:>14s}: {row["step_ms"]:9.1f} ms per step, '
      f'{row["images_per_second"]:7.0f} images/s ({row["lowest"]:.0f} to {row["highest"]:.0f}), '
      f'{row["peak_memory_mb"]} MiB'
    )
  tables.append(arguments.out, rows)
