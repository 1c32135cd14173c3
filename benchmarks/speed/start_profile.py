"""Where each second of a short command goes: launch.py up to its end after one step, with
validation and checkpoint, and the commands that work with such a run.

  python -m benchmarks start_profile --configs=cnn_adv,airbench94 --repeats=5

With an empty cache and with one that a process before has filled, in turns. The stages of launch.py
are those of its main thread and add up; programs are compiled in others too. `until the first step`
is the time from the command to the end of the first update, for peers that to the end of their
first step (see `startup`, which measures these). Rows are appended to the CSV file.
"""

import argparse
import collections
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import command_line, tables
from benchmarks.speed.startup import time_first_step
from cifar_jax.commands import parsing

_LISTED = 0.02  # seconds from which on a stage or a program has a row of its own
Times = dict[tuple[str, str, str], list[float]]  # (system, cache, what) -> one per turn


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  about = 'where the seconds of a short command go'
  parser = parsing.add_verb(verbs, 'start_profile', run, about, __doc__)
  command_line.add_options(
    parser, configs='cnn_adv', systems='ours', repeats=5, out='start_profile'
  )
  parser.add_argument(
    '--caches', default='cold,warm', metavar='KIND,...', help='among them; default: %(default)s'
  )
  parser.add_argument(
    '--verbs', action='store_true', help='also evaluate, predict, summary and --help'
  )


def run(arguments: argparse.Namespace) -> None:
  """Measures and appends to the table."""
  for config in arguments.configs.split(','):
    times: Times = collections.defaultdict(list)
    with tempfile.TemporaryDirectory(prefix='benchmark_start_') as name:
      folder = pathlib.Path(name)
      _launch(config, folder, folder / 'warm')
      for turn in range(arguments.repeats):
        for cache in arguments.caches.split(','):
          kept = folder / 'warm' if cache == 'warm' else folder / f'cold{turn}'
          for what, seconds in _launch(config, folder, kept).items():
            times['ours', cache, what].append(seconds)
        for system in arguments.systems:
          if system != 'ours':
            times[system, 'warm', 'until the first step'].append(time_first_step(system, config))
        for what, command in _commands(config, folder).items() if arguments.verbs else ():
          times['ours', 'warm', what].append(_seconds(command, folder / 'warm'))
    rows = _rows(config, times, arguments.repeats)
    for row in rows:
      print(f'{config:15s} {row["system"]:10s} {row["cache"]} {row["seconds"]:7.2f} {row["what"]}')
    tables.append(arguments.out, rows)


def _launch(config: str, folder: pathlib.Path, cache: pathlib.Path) -> dict[str, float]:
  """Seconds of each stage of a run of one step, and of the whole; 0 where there is no stage."""
  found = folder / 'timeline.json'
  workdir = folder / 'run'
  subprocess.run(['rm', '-rf', workdir], check=True)
  flags = [f'--config=configs/{config}.py', f'--workdir={workdir}', '--config.max_steps=1']
  module = 'benchmarks.speed.systems.timeline'
  start = time.time()
  seconds = _seconds([sys.executable, '-m', module, str(start), str(found), *flags], cache)
  measured = json.loads(found.read_text('utf-8'))
  return {
    'until the first step': measured['first_step'],
    'all': seconds,
    **measured['stages'],
    'exit': seconds - sum(measured['stages'].values()),
    **{f'program {name}': spent for name, spent in measured['programs'].items()},
  }


def _commands(config: str, folder: pathlib.Path) -> dict[str, list[str]]:
  """What is measured beside training, each on the run of the last turn."""
  image = folder / 'image.png'
  if not image.exists():
    from PIL import Image

    Image.new('RGB', (32, 32), (200, 30, 30)).save(image)
  ours = [sys.executable, '-m', 'cifar_jax']
  return {
    'evaluate RUN': [*ours, 'evaluate', str(folder / 'run')],
    'predict RUN IMAGE': [*ours, 'predict', str(folder / 'run'), str(image)],
    'summary': [*ours, 'summary', f'--config=configs/{config}.py'],
    '--help': [*ours, '--help'],
  }


def _seconds(command: Sequence[str], cache: pathlib.Path) -> float:
  variables = {
    **os.environ,
    'CIFAR_JAX_CACHE': str(cache),
    'JAX_PLATFORMS': 'cpu',
    'PYTHONDONTWRITEBYTECODE': '',  # as in the worker of a system
  }
  start = time.perf_counter()
  subprocess.run(command, env=variables, stdout=subprocess.DEVNULL, check=True)
  return time.perf_counter() - start


def _rows(config: str, times: Times, repeats: int) -> list[dict[str, Any]]:
  rows = []
  for (system, cache, what), measured in times.items():
    turns = measured + [0.0] * (repeats - len(measured))  # a stage need not be in each
    if statistics.median(turns) < _LISTED:
      continue
    rows.append(
      {
        'config': config,
        'system': system,
        'cache': cache,
        'what': what,
        'seconds': round(statistics.median(turns), 3),
        'lowest': round(min(turns), 3),
        'highest': round(max(turns), 3),
        'repeats': repeats,
        'machine': tables.machine(),
      }
    )
  return rows
