"""Updates of several seeds in one program beside those of one seed.

  python -m benchmarks together --config=configs/lr.py --seeds=5

Both are dispatched as training does it, on random images; they take turns, and the medians are
compared: a factor below the number of seeds says that one program is faster than one run after the
other. Compilation is measured apart, since each is compiled once for a run of any length. A row is
added to a table.
"""

import argparse
import dataclasses
import statistics
import time
from typing import Any

from benchmarks import command_line, tables
from benchmarks.speed.systems.workers import set_up_process
from cifar_jax import config as configs
from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parser = parsing.add_verb(
    verbs, 'together', run, 'several seeds in one program', __doc__, takes_overrides=True
  )
  command_line.add_options(parser, config='configs/lr.py', repeats=5, out='together')
  count = command_line.number(int, 1)
  parser.add_argument('--seeds', type=count, default=5, help='runs in one program; default: 5')
  parser.add_argument(
    '--steps', type=count, default=32, help='updates in a turn, at least; default: 32'
  )


def run(arguments: argparse.Namespace) -> None:
  """Measures, prints and appends a row."""
  set_up_process()
  config = configs.load(arguments.config, arguments.overrides)
  config.devices, config.data.drop_remainder = 1, True  # all steps alike
  runners, device = _runners(config, arguments.seeds)
  compiling: dict[str, float] = {}
  wall: dict[str, list[float]] = {}
  busy: dict[str, list[float]] = {}
  for name, update in runners.items():
    start = time.perf_counter()
    update(1)
    compiling[name] = time.perf_counter() - start
    wall[name], busy[name] = [], []
  for _ in range(arguments.repeats):
    for name, update in runners.items():
      start, processor_start = time.perf_counter(), time.process_time()
      made = update(arguments.steps)
      wall[name].append((time.perf_counter() - start) / made)
      busy[name].append((time.process_time() - processor_start) / made)
  row: dict[str, Any] = {'config': configs.name_of(arguments.config), 'seeds': arguments.seeds}
  for measure, found in (('ms', wall), ('processor_ms', busy)):
    for name in runners:
      row[f'{name}_{measure}'] = round(1e3 * statistics.median(found[name]), 3)
    row[f'factor_of_{measure}'] = round(row[f'together_{measure}'] / row[f'one_{measure}'], 2)
  for name in runners:
    row[f'{name}_compile_s'] = round(compiling[name], 1)
  row |= {'overrides': ' '.join(arguments.overrides), 'device': device}
  row['versions'] = tables.versions('jax', 'flax')
  for name, value in row.items():
    print(f'{name}: {value}')
  tables.append(arguments.out, [row])


def _runners(config: Any, seeds: int) -> tuple[dict[str, Any], str]:
  """Functions that make at least so many updates, wait, and say how many; and the device."""
  import jax
  import numpy as np

  from benchmarks.speed.systems.worker import random_splits
  from cifar_jax.devices import sharding
  from cifar_jax.trainer.build import build_trainer
  from cifar_jax.trainer.input_pipeline import make_input_pipeline
  from cifar_jax.trainer.many_programs import ManyPrograms
  from cifar_jax.trainer.session import DISPATCHES_AHEAD

  splits = random_splits()
  trainer = build_trainer(config, splits)
  per_dispatch = trainer.dispatch_length(0, supports_scan=True)
  programs = ManyPrograms(trainer, lambda run: trainer.recipe, seeds, own_data=False)
  several = [dataclasses.replace(trainer, config=_with_seed(config, seed)) for seed in range(seeds)]
  keys = programs.stack([one.keys for one in several])
  images = programs.place([splits.train])
  order = programs.epoch_order(keys, sharding.replicate(np.int32(0), trainer.mesh))
  states = {
    'one': trainer.init(),
    'together': programs.stack([trainer.init(one.keys) for one in several]),
  }
  feed = make_input_pipeline(trainer, splits.train, 0)

  def one(state: Any) -> Any:
    return feed.update(state, 0, per_dispatch, False)

  def together(state: Any) -> Any:
    function = programs.train_steps(per_dispatch)
    return function(programs.indices, keys, state, *images, order, masked=False)

  def updates(name: str, dispatch: Any, steps: int) -> int:
    made, reports = 0, []
    while made < steps:
      states[name], report = dispatch(states[name])
      made += per_dispatch
      reports.append(report)
      if len(reports) > DISPATCHES_AHEAD:  # as the loop does
        jax.device_get(reports.pop(0))
    jax.block_until_ready(states[name])
    return made

  return {
    'one': lambda steps: updates('one', one, steps),
    'together': lambda steps: updates('together', together, steps),
  }, sharding.describe(trainer.mesh)


def _with_seed(config: Any, seed: int) -> Any:
  copy = config.copy_and_resolve_references()
  copy.seed = seed
  return copy
