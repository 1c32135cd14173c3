"""Runs launch.py's training and kills its own process, as a power cut would, at a chosen moment.

  python -m tests.trainer.killed_run RUN DATA MOMENT STEP [OPTIONS]

MOMENT is 'step' (before update STEP is dispatched), 'save' (when everything of the checkpoint of
STEP is written but it is not yet renamed to be visible), 'files' (half of that checkpoint's files
are cut short), 'hang' (nothing is killed, but the dispatch of update STEP takes ten minutes),
'asked' (SIGTERM before that dispatch) or 'never'. OPTIONS change the config, as in '{"epochs": 2}'.
"""

import json
import os
import pathlib
import signal
import sys
import time
from collections.abc import Callable

from orbax.checkpoint._src.path import atomicity

from cifar_jax.run_dir.checkpoint import LATEST
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop
from tests.configs import tiny


def die() -> None:
  os.kill(os.getpid(), signal.SIGKILL)


def hang() -> None:
  print('hanging', flush=True)
  time.sleep(600)


def act_before_step(step: int, act: Callable[[], None]) -> None:
  dispatch = loop._Session._dispatch

  def acting(self, state, current, count, masked):
    if current == step:
      act()
    return dispatch(self, state, current, count, masked)

  loop._Session._dispatch = acting


def kill_in_save(step: int, *, cut: bool) -> None:
  finalize = atomicity.AtomicRenameTemporaryPath.finalize

  async def killing(self, *args, **kwargs):
    if self.get_final().parts[-2:] == (LATEST, str(step)):
      files = [path for path in pathlib.Path(self.get()).rglob('*') if path.is_file()]
      for path in files[::2] if cut else []:
        os.truncate(path, path.stat().st_size // 2)
      die()
    return await finalize(self, *args, **kwargs)

  atomicity.AtomicRenameTemporaryPath.finalize = killing


def arrange(moment: str, step: int) -> None:
  """Prepares what is to happen at a moment."""
  if moment in ('step', 'hang'):
    act_before_step(step, die if moment == 'step' else hang)
  elif moment == 'asked':
    act_before_step(step, lambda: os.kill(os.getpid(), signal.SIGTERM))
  elif moment in ('save', 'files'):
    kill_in_save(step, cut=moment == 'files')


def main(run: str, data: str, moment: str, step: str, options: str = '{}') -> None:
  config = tiny.get_config()
  config.data.dir = data
  config.checkpoint.every_steps = 4
  config.update_from_flattened_dict(json.loads(options))
  arrange(moment, int(step))
  loop.train(config.lock(), pathlib.Path(run), Progress('lines'))


if __name__ == '__main__':
  main(*sys.argv[1:])
