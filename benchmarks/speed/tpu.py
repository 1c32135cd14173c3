"""What the TPU compiler makes of the programs of configs, on a machine without a TPU.

  python -m benchmarks tpu                                       # all configs; hours, resumed
  python -m benchmarks tpu --configs=cnn_adv --topologies=v5e:1x1 --programs=epoch
  python -m benchmarks tpu --configs=airbench94 --topologies=v5e:4x4 --config.model.dtype=bfloat16

Nothing runs: each program is compiled, a row at a time, for chips that are not here. `epoch` makes
all updates of an epoch in one dispatch, `last_batch` the short batch at its end, `evaluation` one
batch of evaluation, `pmap` an epoch under `--config.parallel=pmap`. A topology is the name of a
slice: v5e:1x1 is the one chip that Colab lends, v5e:2x2 a host of four, v5e:4x4 four such hosts.

The table holds seconds of compilation by the clock and of the processor, and what the compiler says
of its result: MiB on each chip, the size of the code, collectives of one step, and
`estimated_cycles`, its own estimate of a step on one chip, never a measurement. Rows of the same
code, compiler and options that are there already are kept; `--again` compiles them once more.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
from typing import Any

from benchmarks import command_line, tables
from benchmarks.speed.systems import tpu_compiler
from cifar_jax.commands import parsing
from cifar_jax.utils.errors import UserError

_CONFIGS = tables.RESULTS.parent / 'configs'
_NO_RECIPES = ('__init__', 'base')
_TOPOLOGIES = 'v5e:1x1,v6e:1x1,v5e:2x2'
_PROGRAMS = 'epoch,last_batch,evaluation'
_KEY = ('config', 'overrides', 'topology', 'program', 'commit', 'libtpu')
_SLICE = 'v5e:4x4'  # of several hosts
_ON_SLICE = ('airbench94', 'cnn_adv')


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parser = parsing.add_verb(
    verbs, 'tpu', run, 'programs by the TPU compiler', __doc__, takes_overrides=True
  )
  command_line.add_options(parser, configs='all', out='tpu')
  for name, default, what in (
    ('topologies', None, f'slices; default: {_TOPOLOGIES}, of some configs {_SLICE} too'),
    ('programs', _PROGRAMS, 'among epoch, last_batch, evaluation, pmap; default: %(default)s'),
  ):
    parser.add_argument(f'--{name}', default=default, metavar='NAME,...', help=what)
  parser.add_argument('--again', action='store_true', help='compile also what is in the table')


def run(arguments: argparse.Namespace) -> None:
  """Compiles what is missing in the table, and adds a row for each program."""
  from tqdm import tqdm

  tpu_compiler.check_installed()
  overrides = ' '.join(arguments.overrides)
  same = {'overrides': overrides, 'commit': commit(), 'libtpu': tpu_compiler.version()}
  wanted = [{**row, **same} for row in _wanted(arguments)]
  there = [] if arguments.again or same['commit'].endswith('+') else tables.read(arguments.out)
  done = {tuple(row[name] for name in _KEY) for row in there}
  missing = [row for row in wanted if tuple(row[name] for name in _KEY) not in done]
  if len(missing) < len(wanted):
    print(f'{len(wanted) - len(missing)} of {len(wanted)} programs are in {arguments.out}')
  failed = []
  for row in tqdm(missing, desc='compiling', unit='program', disable=None):
    found = _compile(row, arguments.overrides)
    if found is None:
      failed.append(f'{row["config"]} {row["topology"]} {row["program"]}')
    if not found:  # or a config without such a program
      continue
    full = {**{name: row[name] for name in _KEY}, **found, 'machine': tables.machine()}
    kept = [
      old
      for old in tables.read(arguments.out)
      if any(old[name] != row[name] for name in ('config', 'overrides', 'topology', 'program'))
    ]
    tables.write(arguments.out, sorted([*kept, full], key=lambda row: [row[n] for n in _KEY[:4]]))
    tqdm.write(describe(full))
  if failed:
    raise UserError(f'could not be compiled, see above: {", ".join(failed)}')


def describe(row: dict[str, Any]) -> str:
  """A row in a line."""
  collectives = row['collectives'] or 'no collectives'
  return (
    f'{row["config"]:22s} {row["topology"]:8s} {row["program"]:10s} compiled in '
    f'{row["compile_seconds"]:.0f} s (processor {row["compile_cpu_seconds"]:.0f} s), '
    f'{row["arguments_mib"]:.0f} + {row["temporaries_mib"]:.0f} MiB, code '
    f'{row["code_mib"]:.1f} MiB, {collectives}; the compiler estimates '
    f'{row["estimated_cycles"] / 1e6:.3f} M cycles a step and '
    f'{row["estimated_cycles_once"] / 1e6:.3f} M once a dispatch'
  )


def commit() -> str:
  """The last commit that changed what is compiled, with a '+' where there are changes since; '+'
  alone where nobody can tell.
  """

  def git(*words: str) -> str:
    command = ['git', '-C', str(tables.RESULTS.parent), *words, '--', 'cifar_jax', 'configs']
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

  try:
    return git('log', '-1', '--format=%h') + ('+' if git('status', '--porcelain') else '')
  except (OSError, subprocess.CalledProcessError):
    return '+'


def _wanted(arguments: argparse.Namespace) -> list[dict[str, str]]:
  names = sorted(path.stem for path in _CONFIGS.glob('*.py') if path.stem not in _NO_RECIPES)
  if arguments.configs != 'all':
    chosen = arguments.configs.split(',')
    if unknown := [name for name in chosen if name not in names]:
      raise UserError(f'--configs={unknown[0]}: there is no configs/{unknown[0]}.py')
    names = chosen
  programs = arguments.programs.split(',')
  if unknown := [name for name in programs if name not in tpu_compiler.PROGRAMS]:
    raise UserError(f'--programs={unknown[0]} is not among {", ".join(tpu_compiler.PROGRAMS)}')
  rows = []
  for name in names:
    topologies = (arguments.topologies or _TOPOLOGIES).split(',')
    if not arguments.topologies and name in _ON_SLICE:
      topologies.append(_SLICE)
    rows += [
      {'config': name, 'topology': topology, 'program': program}
      for topology in topologies
      for program in programs
    ]
  return rows


def _compile(row: dict[str, str], overrides: list[str]) -> dict[str, Any] | None:
  """The columns that a process of its own finds; {} where the config has no such program, None
  where it ended with an error, which it has printed.
  """
  path = _CONFIGS / f'{row["config"]}.py'
  command = [sys.executable, '-m', tpu_compiler.__name__, str(path), row['topology']]
  process = subprocess.run(
    [*command, row['program'], *overrides],
    env={**os.environ, **tpu_compiler.ENVIRONMENT},
    stdout=subprocess.PIPE,
    text=True,
    cwd=pathlib.Path(__file__).parents[2],
  )
  if process.returncode:
    return None
  found: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
  return found
