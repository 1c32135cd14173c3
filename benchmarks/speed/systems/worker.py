"""Trains one system in this process, a number of steps at a time; see workers.py.

  python -m benchmarks.speed.systems.worker SYSTEM CONFIG_FILE [OVERRIDE ...]

First prints [batch size, versions, GPU], then, for each line with a number of steps on standard
input, [seconds, seconds of CPU time, peak memory in MiB].
"""

import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from benchmarks import tables
from benchmarks.speed.systems.workers import EXAMPLES, OURS, set_up_process
from cifar_jax import config as configs
from cifar_jax.startup import host_memory
from cifar_jax.utils.errors import UserError, exit_on_user_error

TrainSteps = Callable[[int], None]  # makes that many updates, and returns when they are done


def on_gpu() -> bool:
  """Whether the platform chosen is one."""
  return os.environ.get('JAX_PLATFORMS') == 'cuda'


def random_images() -> tuple[np.ndarray, np.ndarray]:
  """Images uint8 [N, 32, 32, 3] and labels int32 [N] of ten classes."""
  generator = np.random.default_rng(0)
  images = generator.integers(0, 256, (EXAMPLES, 32, 32, 3), np.uint8)
  return images, generator.integers(0, 10, EXAMPLES).astype(np.int32)


def random_splits() -> Any:
  """The random images as `Splits`, each of which is all of them."""
  from cifar_jax.data import Split, Splits

  split = Split(*random_images())
  return Splits(split, split, split, tuple('0123456789'), 'random', 'built in', True, True)


def ours(config: ConfigDict) -> TrainSteps:
  """The steps that launch.py runs."""
  import jax
  import jax.numpy as jnp

  from cifar_jax.devices import sharding
  from cifar_jax.trainer import step_memory
  from cifar_jax.trainer.build import build_trainer

  config.data.drop_remainder = True  # all steps alike
  splits = random_splits()
  trainer = build_trainer(config, splits)
  step_memory.prepare(trainer, splits)
  keys = trainer.keys
  images, labels = sharding.replicate((splits.train.images, splits.train.labels), trainer.mesh)
  order = trainer.epoch_order(keys, jnp.int32(0))
  at_once = trainer.dispatch_length(0, supports_scan=True)
  state = trainer.init()

  def train(steps: int) -> None:
    nonlocal state
    whole, single = divmod(steps, at_once)
    for count in [at_once] * whole + [1] * single:
      state, _ = trainer.train_steps(count)(keys, state, images, labels, order, masked=False)
    jax.block_until_ready(state)

  return train


def keras(config: ConfigDict, backend: str) -> TrainSteps:
  """Keras 3: the network of the config and `model.fit`, on images held as float32."""
  os.environ['KERAS_BACKEND'] = backend
  from benchmarks.speed.systems import keras_networks

  model = keras_networks.build(config)
  images, labels = random_images()
  scaled = images.astype(np.float32) / 255

  def train(steps: int) -> None:
    rows = np.arange(steps * config.batch_size) % EXAMPLES
    model.fit(scaled[rows], labels[rows], config.batch_size, epochs=1, verbose=0)

  return train


def pytorch(config: ConfigDict, bfloat16: bool, compiled: bool) -> TrainSteps:
  """PyTorch, channels last; images are cast and scaled a batch at a time.

  Args:
    compiled: Whether forward and backward pass are compiled by torch.compile, with its defaults.
  """
  import torch

  from benchmarks.speed.systems import torch_networks

  device = 'cuda' if on_gpu() else 'cpu'
  if on_gpu():
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision('high')
  model: Any = torch_networks.build(config)  # its stubs lack `memory_format`
  model = model.to(device, memory_format=torch.channels_last).train()
  optimizer = torch_networks.optimizer(config, model)
  predict = torch.compile(model) if compiled else model
  images, labels = (torch.from_numpy(array).to(device) for array in random_images())
  images = images.permute(0, 3, 1, 2)
  labels = labels.long()
  position = 0

  def train(steps: int) -> None:
    nonlocal position
    for _ in range(steps):
      rows = torch.arange(position, position + config.batch_size, device=device) % EXAMPLES
      position += config.batch_size
      batch = images[rows].to(torch.float32, memory_format=torch.channels_last) / 255
      optimizer.zero_grad(set_to_none=True)
      with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
        loss = torch.nn.functional.cross_entropy(
          predict(batch), labels[rows], label_smoothing=config.loss.label_smoothing
        )
      loss.backward()
      if config.optimizer.gradient_clip_norm is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimizer.gradient_clip_norm)
      optimizer.step()
    if on_gpu():
      torch.cuda.synchronize()

  return train


# By the names of their modules: TensorFlow is installed under one of several.
SYSTEMS: dict[str, tuple[Callable[[ConfigDict], TrainSteps], tuple[str, ...]]] = {
  'ours': (ours, ('jax', 'flax')),
  'ours_bfloat16': (ours, ('jax', 'flax')),
  'plain': (ours, ('jax', 'flax')),
  'keras_tensorflow': (lambda config: keras(config, 'tensorflow'), ('keras', 'tensorflow')),
  'keras_jax': (lambda config: keras(config, 'jax'), ('keras', 'jax')),
  'pytorch': (lambda config: pytorch(config, False, False), ('torch',)),
  'pytorch_bfloat16': (lambda config: pytorch(config, True, False), ('torch',)),
  'pytorch_compiled': (lambda config: pytorch(config, False, True), ('torch',)),
  'pytorch_compiled_bfloat16': (lambda config: pytorch(config, True, True), ('torch',)),
}


def package_of(module: str) -> str:
  """'tensorflow-cpu', where that is what brought the module 'tensorflow'."""
  found = importlib.metadata.packages_distributions().get(module, [])
  return module if module in found or not found else found[0].replace('_', '-')


def gpu_name(system: str) -> str:
  """'NVIDIA H100 80GB HBM3'; '' on CPU."""
  if not on_gpu():
    return ''
  if system.startswith('pytorch'):
    import torch

    return torch.cuda.get_device_name()
  import jax

  return jax.devices()[0].device_kind


def main(system: str, path: str, *overrides: str) -> None:
  """Builds the system and obeys standard input."""
  if system in OURS:
    set_up_process()
  if system == 'ours_bfloat16':
    overrides = (*overrides, '--config.model.dtype=bfloat16')
  config = configs.load(path, overrides)
  build, modules = SYSTEMS[system]
  try:
    train, versions = build(config), tables.versions(*map(package_of, modules))
  except ModuleNotFoundError as error:
    raise UserError(f'{system} needs the package {error.name}, which is not installed') from None
  print(json.dumps([config.batch_size, versions, gpu_name(system)]), flush=True)
  for line in sys.stdin:
    before, start = time.process_time(), time.perf_counter()
    train(int(line))
    seconds = time.perf_counter() - start
    cpu_seconds = time.process_time() - before
    print(json.dumps([seconds, cpu_seconds, host_memory.peak() / 2**20]), flush=True)


if __name__ == '__main__':
  with exit_on_user_error():
    main(*sys.argv[1:])
