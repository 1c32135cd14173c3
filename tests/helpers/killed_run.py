"""Runs launch.py's training and kills its own process, as a power cut would, at a chosen moment.

  python -m tests.helpers.killed_run RUN DATA MOMENT STEP [OPTIONS]

MOMENT is 'step' (before update STEP is dispatched), 'save' (when everything of the checkpoint of
STEP is written but it is not yet renamed to be visible), 'files' (half of that checkpoint's files
are cut short), 'writing' (when STEP files and folders were touched by what is written beside the
training, each after a pause), 'asked in writing' (SIGTERM then), 'hang' (nothing is killed, but the
dispatch of update STEP takes ten minutes), 'asked' (SIGTERM before that dispatch) or 'never'.
OPTIONS change the config, as in '{"epochs": 2}'.
"""

import contextlib
import itertools
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

from orbax.checkpoint._src.path import atomicity

from cifar_jax.run_dir.background import Background
from cifar_jax.run_dir.checkpoint import LATEST
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop
from tests.helpers import tiny, warm_process
from tests.helpers.before_step import before_step

PAUSE = 0.002  # seconds before each file that is touched, where writing is made slow


def session(
  run: pathlib.Path, data: pathlib.Path, moment: str = 'never', step: int = 0, **options
) -> subprocess.CompletedProcess[str]:
  """One process that trains in `run`; options are the config's."""
  return warm_process.run(main, str(run), str(data), moment, str(step), json.dumps(options))


def die() -> None:
  os.kill(os.getpid(), signal.SIGKILL)


def ask() -> None:
  os.kill(os.getpid(), signal.SIGTERM)


def hang() -> None:
  print('hanging', flush=True)
  time.sleep(600)


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


def act_in_writing(number: int, act: Callable[[], None]) -> None:
  """Calls `act()` when the jobs of `Background` touch a file or folder for the `number`-th time.

  Python tells of each, in whatever thread; the training goes on in the main thread meanwhile.
  """
  submit, counted, writing = Background.submit, itertools.count(1), threading.Event()

  def submit_noted(self: Background, job: Callable[[], None]) -> None:
    def noted() -> None:
      writing.set()
      try:
        job()
      finally:
        writing.clear()

    submit(self, noted)

  def hook(event: str, _: tuple) -> None:
    files = event == 'open' or event.startswith(('os.', 'shutil.'))
    if files and writing.is_set() and threading.current_thread() is not threading.main_thread():
      if next(counted) == number:
        act()
      time.sleep(PAUSE)

  Background.submit = submit_noted
  sys.addaudithook(hook)


@contextlib.contextmanager
def arranged(moment: str, step: int) -> Iterator[None]:
  """Within it, trainings end as a moment says."""
  before = {'step': die, 'hang': hang, 'asked': ask}
  if 'writing' in moment:
    act_in_writing(step, ask if 'asked' in moment else die)
  if moment in ('save', 'files'):
    kill_in_save(step, cut=moment == 'files')
  with before_step(step, before.get(moment, lambda: None)):
    yield


def main(run: str, data: str, moment: str, step: str, options: str = '{}') -> None:
  config = tiny.get_config()
  config.data.dir = data
  config.checkpoint.every_steps = 4
  config.update_from_flattened_dict(tiny.ONE_LAYER)
  config.update_from_flattened_dict(json.loads(options))
  with arranged(moment, int(step)):
    loop.train(config.lock(), pathlib.Path(run), Progress('lines'))


if __name__ == '__main__':
  main(*sys.argv[1:])
