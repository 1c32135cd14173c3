"""What a step of launch.py costs beyond the bare jitted step on one device.

  python -m benchmarks step_overhead --config=configs/cnn_adv.py

Both make the same updates of the same pure step on the same arrays: one as plain `jax.jit`, called
in a loop that only waits at the end; the other as training does it, over a mesh of one device, with
the feed, the transfer guard and the reports that the loop reads. They take turns, and the medians
are compared. Nothing is written.
"""

import argparse
import statistics
import time
from typing import Any

from benchmarks import command_line
from benchmarks.speed.systems.workers import set_up_process
from cifar_jax import config as configs
from cifar_jax.commands import parsing


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parser = parsing.add_verb(
    verbs, 'step_overhead', run, 'a step beside bare jax.jit', __doc__, takes_overrides=True
  )
  command_line.add_options(parser, config='configs/cnn_adv.py', repeats=9)
  count = command_line.number(int, 1)
  parser.add_argument('--steps', type=count, default=20, help='updates in a turn; default: 20')


def run(arguments: argparse.Namespace) -> None:
  """Measures and prints."""
  set_up_process()
  config = configs.load(arguments.config, arguments.overrides)
  config.devices, config.data.drop_remainder = 1, True  # all steps alike
  runners = _runners(config)
  for update in runners.values():
    update(2)  # compiles
  seconds: dict[str, list[float]] = {name: [] for name in runners}
  for _ in range(arguments.repeats):
    for name, update in runners.items():
      start = time.perf_counter()
      update(arguments.steps)
      seconds[name].append((time.perf_counter() - start) / arguments.steps)
  medians = {name: statistics.median(values) for name, values in seconds.items()}
  for name, median in medians.items():
    spread = max(seconds[name]) - min(seconds[name])
    print(f'{name}: {1e3 * median:.3f} ms per step, spread {1e3 * spread:.3f}')
  print(f'overhead: {100 * (medians["ours"] / medians["bare"] - 1):+.2f} %')


def _runners(config: Any) -> dict[str, Any]:
  """Functions that make so many updates and return when they are done."""
  import jax
  import jax.numpy as jnp

  from benchmarks.speed.systems.worker import random_splits
  from cifar_jax.trainer import step_memory
  from cifar_jax.trainer.build import build_trainer
  from cifar_jax.trainer.input_pipeline import make_input_pipeline
  from cifar_jax.training import sampling, steps

  splits = random_splits()
  split = splits.train
  trainer = build_trainer(config, splits)
  step_memory.prepare(trainer, splits)
  step = jax.jit(steps.make_train_steps(trainer.recipe), donate_argnums=1, static_argnums=5)
  images, labels = jnp.asarray(split.images), jnp.asarray(split.labels)
  keys = steps.random_keys(config.seed)
  order = jax.jit(sampling.make_epoch_order(trainer.recipe))(keys, 0)
  bare_state = jax.jit(lambda keys: steps.init_state(trainer.recipe, keys))(keys)
  state = trainer.init()
  feed = make_input_pipeline(trainer, split, 0)
  done = 0

  def bare(count: int) -> None:
    nonlocal bare_state
    for _ in range(count):
      bare_state, _ = step(keys, bare_state, images, labels, order, False)
    jax.block_until_ready(bare_state)

  def ours(count: int) -> None:
    nonlocal state, done
    reports = []
    for _ in range(count):
      state, report = feed.update(state, done % trainer.steps_per_epoch, 1, False)
      done += 1
      reports.append(report)
      if len(reports) > 4:  # as the loop does
        jax.device_get(reports.pop(0))
    jax.block_until_ready(state)

  return {'bare': bare, 'ours': ours}
