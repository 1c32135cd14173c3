"""What a step of launch.py costs beyond the bare jitted step on one device.

  python -m benchmarks.step_overhead --config=configs/cnn_adv.py

Both make the same updates of the same pure step on the same arrays: one as plain `jax.jit`, called
in a loop that only waits at the end; the other as training does it, over a mesh of one device, with
the feed, the transfer guard and the reports that the loop reads. They take turns, and the medians
are compared.
"""

import argparse
import importlib.util
import statistics
import time
from typing import Any

from benchmarks.worker import random_images
from cifar_jax.startup import host_memory, xla_flags


def main() -> None:
  """Measures and prints."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--config', default='configs/cnn_adv.py')
  parser.add_argument('--steps', type=int, default=20, help='updates in a turn')
  parser.add_argument('--turns', type=int, default=9)
  options = parser.parse_args()
  host_memory.configure_malloc()
  xla_flags.set_flags()
  bare, ours = _runners(_config(options.config))
  for run in (bare, ours):
    run(2)  # compiles
  seconds: dict[str, list[float]] = {'bare': [], 'ours': []}
  for _ in range(options.turns):
    for name, run in (('bare', bare), ('ours', ours)):
      start = time.perf_counter()
      run(options.steps)
      seconds[name].append((time.perf_counter() - start) / options.steps)
  medians = {name: statistics.median(values) for name, values in seconds.items()}
  for name, median in medians.items():
    spread = max(seconds[name]) - min(seconds[name])
    print(f'{name}: {1e3 * median:.3f} ms a step, spread {1e3 * spread:.3f}')
  print(f'overhead: {100 * (medians["ours"] / medians["bare"] - 1):+.2f} %')


def _config(path: str) -> Any:
  spec = importlib.util.spec_from_file_location('config_file', path)
  assert spec is not None
  assert spec.loader is not None
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  config = module.get_config()
  config.devices, config.data.last_batch = 1, 'drop'  # all steps alike
  return config.lock()


def _runners(config: Any) -> tuple[Any, Any]:
  """Functions that make so many updates and return when they are done."""
  import jax
  import jax.numpy as jnp

  from cifar_jax.data import Split, Splits
  from cifar_jax.trainer.build import build_trainer
  from cifar_jax.trainer.input_pipeline import make_feed
  from cifar_jax.training import steps

  split = Split(*random_images())
  names = tuple('0123456789')
  trainer = build_trainer(config, Splits(split, split, split, names, 'random', '', True, True))
  step = jax.jit(steps.make_train_steps(trainer.recipe), donate_argnums=0, static_argnums=4)
  images, labels = jnp.asarray(split.images), jnp.asarray(split.labels)
  order = jax.jit(steps.make_epoch_order(trainer.recipe))(0)
  bare_state = jax.jit(lambda: steps.init_state(trainer.recipe))()
  state = trainer.init()
  feed = make_feed(trainer, split, 0)
  done = 0

  def bare(count: int) -> None:
    nonlocal bare_state
    for _ in range(count):
      bare_state, _ = step(bare_state, images, labels, order, False)
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

  return bare, ours


if __name__ == '__main__':
  main()
