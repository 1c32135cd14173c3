"""Images per second of whole training steps: this project, its plain formulations, and peers.

  python -m benchmarks throughput --configs=cnn_adv,cnn_pkaur,cnn_fchollet
  python -m benchmarks throughput --configs=lr --systems=ours,plain --config.batch_size=256
  python -m benchmarks throughput --systems=ours,pytorch --peers_python=PATH/python

Every system trains the network of the config on the same random images, in turns; the first one is
the reference of `ratio`. They are described in benchmarks/speed/systems/workers.py. Augmentation,
where the config has it, is ours alone: peers train without. `first_step_seconds` is what the first
step takes with no compiled program kept from before.

`--peers_python` is an interpreter with the peers and the requirements of this project. On a GPU,
`--platform=cuda`; PyTorch is the peer there.
"""

import argparse
import functools
import sys
from typing import Any

from benchmarks import command_line, tables
from benchmarks.speed.systems.workers import OURS, PEERS, Worker, take_turns
from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parser = parsing.add_verb(
    verbs, 'throughput', run, 'images per second beside peers', __doc__, takes_overrides=True
  )
  command_line.add_options(
    parser, configs='cnn_adv', systems=','.join(OURS), repeats=9, seconds=1.0, out='throughput'
  )
  parser.add_argument('--peers_python', default=sys.executable, help='interpreter for peers')
  parser.add_argument('--platform', default='cpu', choices=('cpu', 'cuda'), help='default: cpu')
  parser.add_argument(
    '--beside',
    type=command_line.number(int, 1),
    default=1,
    metavar='N',
    help='systems that start and compile at the same time, for a machine of many cores; default: 1',
  )


def run(arguments: argparse.Namespace) -> None:
  """Measures and writes the table."""
  rows: list[dict[str, Any]] = []
  for config in arguments.configs.split(','):
    start = {
      system: functools.partial(
        Worker,
        system,
        f'configs/{config}.py',
        arguments.overrides,
        arguments.peers_python if system in PEERS else sys.executable,
        {'JAX_PLATFORMS': arguments.platform},
      )
      for system in arguments.systems
    }
    measured = take_turns(start, arguments.repeats, arguments.seconds, arguments.beside)
    reference = measured[arguments.systems[0]]['images_per_second']
    for system, columns in measured.items():
      ratio = round(columns['images_per_second'] / reference, 3)
      overrides = ' '.join(arguments.overrides)
      row = {'config': config, 'overrides': overrides, 'system': system, **columns, 'ratio': ratio}
      rows.append(row)
      print(
        f'{config:14s} {system:18s} {row["images_per_second"]:8.0f} images/s '
        f'({row["lowest"]:.0f} to {row["highest"]:.0f}), x{ratio:.2f}, '
        f'{row["cpu_ms_per_image"]:.3f} ms of CPU per image, first step '
        f'{row["first_step_seconds"] or "-"} s, {row["peak_memory_mb"]} MiB',
        flush=True,
      )
  tables.write(arguments.out, rows)
