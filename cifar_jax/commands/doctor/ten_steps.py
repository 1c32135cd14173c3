"""Program: trains ten steps of a small network, again with a stop after five, and compares.

Run by `training` as `ten_steps FOLDER NAME [REFERENCE]`: FOLDER is for data and runs, NAME tells
this kind of device from others, and REFERENCE is the NAME of an earlier call to compare with.

Nothing is drawn at random but the initial parameters and the order of the images, and precision is
asked for where devices would save it, so that all kinds of devices compute the same up to rounding.
"""

import pathlib
import signal
import sys
import time
from typing import Any

from cifar_jax.commands.doctor.child import tell
from cifar_jax.startup import host_memory, xla_flags

_STEPS, _STOP = 10, 5


def main() -> None:
  """Trains and says what came of it."""
  start = time.perf_counter()
  folder, name, reference = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
  host_memory.configure_malloc()
  flags = xla_flags.set_flags()
  import jax
  import numpy as np

  from cifar_jax.ops import dispatch

  devices = jax.devices()
  tell(platform=devices[0].platform, kind=devices[0].device_kind, devices=len(devices), flags=flags)
  if not reference:
    _write_data(folder / 'data.npz')
  whole = _train(folder, f'{name}_whole')
  tell(losses=whole['losses'], steps=whole['step'])
  _train(folder, f'{name}_resumed', stop=True)
  resumed = _train(folder, f'{name}_resumed')
  tell(resumed_steps=resumed['step'], same_bits=_same_bits(whole, resumed))
  np.savez(folder / f'{name}.npz', losses=whole['losses'], parameters=_vector(whole))
  if reference:
    tell(difference=_difference(whole, dict(np.load(folder / f'{reference[0]}.npz'))))
  if len(devices) > 1:
    mapped = _train(folder, f'{name}_pmap', parallel='pmap')
    other = {'losses': np.asarray(whole['losses']), 'parameters': _vector(whole)}
    tell(pmap_difference=_difference(mapped, other))
  if devices[0].platform == 'cpu':
    chosen = dispatch.wants_library()
    fast = [dtype for dtype in ('float32', 'bfloat16') if dispatch.has_fast_kernels(dtype)]
    tell(
      chosen=chosen,
      library=[dtype for dtype in fast if dispatch.use_library_calls(dtype)],
      objections={dtype: dispatch.objection_to_library(dtype) for dtype in fast if chosen},
    )
  tell(seconds=time.perf_counter() - start)


def _train(
  folder: pathlib.Path, name: str, stop: bool = False, parallel: str = 'jit'
) -> dict[str, Any]:
  """Trains, or goes on with, a run: its step, losses of epochs, and arrays.

  Args:
    folder: Of the data and the runs.
    name: Of the run.
    stop: Whether to ask for a stop after `_STOP` steps, as Ctrl-C does.
    parallel: The option of the config.
  """
  import jax

  from cifar_jax.run_dir.progress import Progress
  from cifar_jax.trainer.loop import train
  from cifar_jax.trainer.session import Callback, RunSession
  from cifar_jax.training.steps import TrainState

  found: dict[str, Any] = {}

  class Watch(Callback):
    """Stops where it should, and keeps what was reached."""

    def end_epoch(self, session: RunSession, state: TrainState) -> TrainState:
      if stop and session.rows[-1]['step'] == _STOP:
        signal.raise_signal(signal.SIGTERM)
      return state

    def end(self, session: RunSession, state: TrainState, step: int, interrupted: bool) -> None:
      found.update(
        step=step,
        losses=[row['train_loss'] for row in session.rows],
        arrays=jax.device_get((state.params, state.batch_stats, state.opt_state)),
      )

  train(_config(folder / 'data.npz', parallel), folder / name, Progress('silent'), '', [Watch()])
  return found


def _config(data: pathlib.Path, parallel: str) -> Any:
  """Ten steps in two epochs, on all devices."""
  from ml_collections import ConfigDict

  from cifar_jax import config as configs

  config = configs.get_config()
  config.epochs = 2
  config.batch_size = 64
  config.parallel = parallel
  config.tensorboard = False
  config.data.name = 'ten_steps'
  config.data.dir = str(data)
  config.data.validation = '64'
  config.optimizer.name = 'sgd'
  config.optimizer.learning_rate = 0.01
  config.optimizer.momentum = 0.9
  config.model = ConfigDict()
  config.model.name = 'conv_net'
  config.model.widths = (8,)
  config.model.block = ('conv3 same', 'batch_norm', 'max_pool')
  config.model.head = ('flatten',)
  config.model.activation = 'relu'
  config.model.dtype = 'float32'
  return config.lock()


def _write_data(path: pathlib.Path) -> None:
  """384 images for training and 64 for testing; the class shifts the brightness of a corner."""
  import numpy as np

  generator = np.random.default_rng(0)
  labels = generator.integers(0, 4, 448)
  images = generator.integers(0, 128, (448, 8, 8, 3))
  for corner, (row, column) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4)]):
    images[labels == corner, row : row + 4, column : column + 4] += 96
  images, labels = images.astype(np.uint8), labels.astype(np.uint8)
  train, test = slice(0, 384), slice(384, None)
  np.savez(
    path,
    x_train=images[train],
    y_train=labels[train],
    x_test=images[test],
    y_test=labels[test],
  )


def _vector(found: dict[str, Any]) -> Any:
  """All parameters, float32 [N]."""
  import jax
  import numpy as np

  return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(found['arrays'][0])])


def _same_bits(one: dict[str, Any], other: dict[str, Any]) -> bool:
  import jax
  import numpy as np

  leaves = [jax.tree.leaves(found['arrays']) for found in (one, other)]
  return len(leaves[0]) == len(leaves[1]) and all(
    np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in zip(*leaves, strict=True)
  )


def _difference(found: dict[str, Any], other: dict[str, Any]) -> float:
  """The larger of the relative differences of losses and of parameters."""
  import numpy as np

  pairs = [(np.asarray(found['losses']), other['losses']), (_vector(found), other['parameters'])]
  return max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs)


if __name__ == '__main__':
  main()
