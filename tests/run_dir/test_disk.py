"""A full disk, a folder that cannot be written, half-written files."""

import errno
import json
import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
import pytest

from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.trainer import loop, session
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import disk_errors, write_json
from tests.helpers.before_step import before_step
from tests.helpers.runs import SILENT, assert_identical, changed, rows_of, state_of
from tests.helpers.states import (
  FACTS,
  make_state,
  restored_step,
  save_second,
  save_steps,
  stderr_of,
)
from tests.helpers.tiny import ONE_LAYER

# What Orbax leaves behind of a failed read or write.
pytestmark = [
  pytest.mark.usefixtures('collected', 'shared_trainers'),
  pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning'),
  pytest.mark.filterwarnings('ignore::pytest.PytestUnhandledThreadExceptionWarning'),
]


@pytest.fixture
def small_disk(tmp_path) -> Iterator[pathlib.Path]:
  """A file system of one megabyte; only root may mount it."""
  folder = tmp_path / 'disk'
  folder.mkdir()
  command = ['mount', '-t', 'tmpfs', '-o', 'size=1m', 'none', str(folder)]
  if shutil.which('mount') is None or subprocess.run(command, capture_output=True).returncode:
    pytest.skip('mounting a small file system is not permitted')
  try:
    yield folder
  finally:
    subprocess.run(['umount', str(folder)], check=True)


def fill(disk: pathlib.Path, leave: int) -> None:
  content = b'x' * (shutil.disk_usage(disk).free - leave)
  (disk / 'filling').write_bytes(content)


def test_full_disk_is_said_and_older_checkpoints_stay(small_disk) -> None:
  """First no room for the state, then none for the first byte."""
  save_steps(small_disk, 1)
  state = make_state(2)
  state.params['Dense_0']['kernel'] = jnp.asarray(
    np.random.default_rng(0).normal(size=(600, 600)), jnp.float32
  )
  with (
    Checkpoints(small_disk, keep=1) as checkpoints,
    pytest.raises(UserError, match=r'cannot write to .*: the disk is full') as error,
  ):
    checkpoints.save(state, FACTS)
  assert '\n' not in str(error.value)
  assert restored_step(small_disk) == 1

  with Checkpoints(small_disk, keep=1) as checkpoints:  # cleans up what the first try left
    fill(small_disk, leave=0)
    with pytest.raises(UserError, match='the disk is full'):
      checkpoints.save(make_state(3), {**FACTS, 'number': 3})
    (small_disk / 'filling').unlink()
    assert restored_step(small_disk) == 1
    # "mend that and run the same command again"
    checkpoints.save(make_state(3), {**FACTS, 'number': 3})
  assert restored_step(small_disk) == 3


def test_nothing_but_one_line_on_a_full_disk(small_disk) -> None:
  save_steps(small_disk, 1)
  fill(small_disk, leave=30_000)
  stderr = stderr_of(small_disk, save_second)
  assert 'the disk is full' in stderr
  assert stderr.startswith('error: cannot write to')
  assert len(stderr.splitlines()) == 1


def test_disk_that_fills_while_a_run_trains(small_disk, tiny_config, tmp_path) -> None:
  """The save of step 8 fails beside the training, which ends by the one of step 12; with room again
  the same command goes on from step 6, and ends as if nothing had been.
  """
  config = changed(tiny_config, **{**ONE_LAYER, 'checkpoint.every_steps': 4})
  made: list[int] = []
  dispatch = session.Session._dispatch

  def noted(self, state, step, count):
    made.append(step)
    return dispatch(self, state, step, count)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(session.Session, '_dispatch', noted)
    with (
      before_step(7, lambda: fill(small_disk, leave=0)),
      pytest.raises(UserError, match=r'^cannot write to .*: the disk is full; ') as error,
    ):
      loop.train(config, small_disk / 'run', SILENT)
  assert '\n' not in str(error.value)
  assert 7 in made
  assert max(made) < 12
  (small_disk / 'filling').unlink()
  loop.train(config, small_disk / 'run', SILENT)
  loop.train(config, tmp_path / 'straight', SILENT)
  assert_identical(state_of(config, small_disk / 'run'), state_of(config, tmp_path / 'straight'))
  assert rows_of(small_disk / 'run') == rows_of(tmp_path / 'straight')


def test_full_disk_leaves_the_old_json(small_disk) -> None:
  path = small_disk / 'summary.json'
  write_json(path, {'a': 1})
  fill(small_disk, leave=8192)
  with pytest.raises(UserError, match='the disk is full'):
    write_json(path, {'a': 'x' * 100_000})
  assert json.loads(path.read_text()) == {'a': 1}


def test_folder_that_cannot_be_written(tmp_path) -> None:
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match=r'cannot write to .*file'):
    Checkpoints(tmp_path / 'file')
  with pytest.raises(UserError, match='cannot write to'):
    write_json(tmp_path / 'file' / 'a.json', {})


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS])
def test_disk_errors_of_python_become_one_sentence(tmp_path, number) -> None:
  with (
    pytest.raises(UserError, match=r'^cannot write to .*run the same command again$'),
    disk_errors(tmp_path),
  ):
    raise OSError(number, os.strerror(number))


def test_other_errors_pass() -> None:
  with pytest.raises(KeyError), disk_errors(pathlib.Path('x')):
    raise KeyError('bug')


def test_write_json_never_leaves_half_a_file(tmp_path, monkeypatch) -> None:
  """Killed after the first half was written, the reader still finds the old content."""
  path = tmp_path / 'summary.json'
  write_json(path, {'loss': 0.5, 'name': 'ü'})
  assert json.loads(path.read_text()) == {'loss': 0.5, 'name': 'ü'}

  write_text = pathlib.Path.write_text

  def half(self, text, *args, **kwargs):
    write_text(self, text[: len(text) // 2], *args, **kwargs)
    raise KeyboardInterrupt

  monkeypatch.setattr(pathlib.Path, 'write_text', half)
  with pytest.raises(KeyboardInterrupt):
    write_json(path, {'loss': 0.25})
  monkeypatch.undo()
  assert json.loads(path.read_text()) == {'loss': 0.5, 'name': 'ü'}
  write_json(path, {'loss': 0.25})
  assert json.loads(path.read_text()) == {'loss': 0.25}
  assert [entry.name for entry in tmp_path.iterdir()] == ['summary.json']
