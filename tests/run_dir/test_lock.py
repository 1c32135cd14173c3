import os
import pathlib
import signal
import subprocess
import sys

import pytest

from cifar_jax.run_dir.lock import run_lock
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop
from cifar_jax.utils.errors import UserError

HOLDER = """
import pathlib, sys, time
from cifar_jax.run_dir.lock import run_lock
with run_lock(pathlib.Path(sys.argv[1])):
  print('held', flush=True)
  time.sleep(100)
"""


@pytest.fixture
def holder(tmp_path: pathlib.Path):
  process = subprocess.Popen(
    [sys.executable, '-c', HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
  )
  assert process.stdout
  assert process.stdout.readline() == 'held\n'
  yield process
  process.kill()
  process.communicate()


def test_a_second_training_in_the_folder_is_refused_and_changes_nothing(
  holder, tiny_config, tmp_path
) -> None:
  before = sorted(os.listdir(tmp_path))
  with pytest.raises(UserError, match='another process is training in'):
    loop.train(tiny_config, tmp_path, Progress('silent'))
  assert sorted(os.listdir(tmp_path)) == before


def test_a_killed_process_lets_others_in(holder, tmp_path) -> None:
  holder.send_signal(signal.SIGKILL)
  holder.wait()
  with run_lock(tmp_path):
    pass


def test_it_can_be_taken_again(tmp_path) -> None:
  for _ in range(2):
    with run_lock(tmp_path):
      pass


def test_a_folder_that_cannot_be_written(tmp_path) -> None:
  (tmp_path / 'file').touch()
  with (
    pytest.raises(UserError, match='cannot write in the run folder'),
    run_lock(tmp_path / 'file'),
  ):
    pass
