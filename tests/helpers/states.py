"""Training states of a few arrays, saved and restored bit for bit."""

import os
import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from orbax.checkpoint._src.path import atomicity

from cifar_jax.run_dir import checkpoint
from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.training.losses import Metrics
from cifar_jax.training.steps import TrainState
from cifar_jax.utils.errors import UserError, exit_on_user_error
from tests.helpers import warm_process

FACTS = {'seconds': 1.25, 'epoch_seconds': 0.1}


def make_state(step: int, width: int = 3) -> TrainState:
  """A state with values that a careless round trip would change; every step has other ones."""
  generator = np.random.default_rng(step)
  kernel = generator.normal(size=(4, width)).astype(np.float32)
  kernel[0, 0] = np.nextafter(np.float32(1), np.float32(2))
  params = {
    'Conv_0': {
      'kernel': jnp.asarray(kernel),
      'bias': jnp.array([np.inf, -0.0, 1e-45], jnp.float32),
    },
    'Dense_0': {'kernel': jnp.asarray(generator.normal(size=(2, 2)), jnp.bfloat16)},
  }
  return TrainState(
    step=jnp.int32(step),
    params=params,
    batch_stats={'BatchNorm_0': {'mean': jnp.zeros((1, 1)), 'var': jnp.float32(np.nan)}},
    opt_state=optax.adam(1e-3).init(params),
    metrics=Metrics.empty(),
    bad_step=jnp.int32(-1),
  )


def target(state: TrainState) -> TrainState:
  device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  return checkpoint.abstract_state(state, device)


def bits(state: TrainState) -> list[tuple[str, str, tuple[int, ...], bytes]]:
  return [
    (jax.tree_util.keystr(path), str(leaf.dtype), leaf.shape, np.asarray(leaf).tobytes())
    for path, leaf in jax.tree_util.tree_leaves_with_path(state)
  ]


def save_steps(run: pathlib.Path, *numbers: int, keep: int = 2) -> None:
  with Checkpoints(run, keep) as checkpoints:
    for step in numbers:
      checkpoints.save(make_state(step), {**FACTS, 'number': step})


def restored_step(run: pathlib.Path, which: str = 'latest') -> int:
  with Checkpoints(run, read_only=True) as checkpoints:
    restored = checkpoints.restore(target(make_state(0)), which)
  assert restored is not None
  state, facts = restored
  step = int(state.step)
  assert facts['number'] == step
  assert bits(state) == bits(make_state(step))
  return step


def restore(checkpoints: Checkpoints, width: int = 3) -> None:
  """Into a state of such a width."""
  checkpoints.restore(target(make_state(0, width)))


def restore_and_end(checkpoints: Checkpoints) -> None:
  restore(checkpoints)
  raise UserError('the end')


def save_second(checkpoints: Checkpoints) -> None:
  checkpoints.save(make_state(2), {**FACTS, 'number': 2})


def stderr_of(run: pathlib.Path, action: Callable[..., None], *arguments: object) -> str:
  """What the user sees of a failure of `action(checkpoints, *arguments)`, as launch.py reports it.

  Args:
    action: A function of this module.
  """
  done = warm_process.run(_reported, run, action, arguments)
  assert done.returncode == 2, done.stderr
  return done.stderr


def _reported(run: pathlib.Path, action: Callable[..., None], arguments: tuple) -> None:
  logging.set_verbosity(logging.WARNING)
  with exit_on_user_error(), Checkpoints(run, keep=1) as checkpoints:
    action(checkpoints, *arguments)


def save_and_die(run: pathlib.Path, number: int) -> None:
  """Ends the process, with status 9, when all of the step is written and not yet visible."""

  async def die(*_: object, **__: object) -> None:
    os._exit(9)

  atomicity.AtomicRenameTemporaryPath.finalize = die
  save_steps(run, number)
