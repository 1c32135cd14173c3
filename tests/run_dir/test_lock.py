import os
import pathlib
import signal
import subprocess
import sys

import pytest

from cifar_jax.run_dir.lock import locked_files, run_lock
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


def test_files_that_are_locked_and_not_those_waited_for(monkeypatch) -> None:
  """Lines as proc_locks(5) describes them."""
  lines = """\
1: FLOCK  ADVISORY  WRITE 3568 08:12:1111 0 EOF
1: -> FLOCK  ADVISORY  WRITE 2222 08:12:1111 0 EOF
2: POSIX  ADVISORY  READ  3548 08:01:33333 128 128
3: OFDLCK ADVISORY  WRITE -1 00:2f:44444 0 EOF
"""
  monkeypatch.setattr(pathlib.Path, 'read_text', lambda *_: lines)
  assert locked_files() == {1111, 33333, 44444}

  def no_such_file(*_: object) -> str:
    raise FileNotFoundError

  monkeypatch.setattr(pathlib.Path, 'read_text', no_such_file)
  assert locked_files() is None
