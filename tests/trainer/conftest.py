"""Runs that end, and that are stopped, whose files the tests lose, edit and damage."""

import pathlib
import shutil

import pytest
from absl import logging

from cifar_jax.trainer import loop
from tests.helpers import tiny
from tests.helpers.before_step import Crash, before_step, crash
from tests.helpers.runs import SILENT, changed
from tests.helpers.shared_trainers import trainers_shared
from tests.helpers.tiny import ONE_CONVOLUTION


@pytest.fixture(scope='session')
def options(tiny_data):
  """Five epochs whose rate depends on all of them, by a rule that never sees an improvement."""
  config = tiny.get_config()
  config.data.dir = str(tiny_data)
  return changed(
    config.lock(),
    epochs=5,
    **{
      **ONE_CONVOLUTION,
      'optimizer.learning_rate': 1e-3,
      'plateau.patience': 2,
      'plateau.min_delta': 10.0,
      'plateau.factor': 0.5,
      'checkpoint.every_steps': 4,
    },
  )


@pytest.fixture(scope='session')
def whole(options, tmp_path_factory) -> pathlib.Path:
  run = tmp_path_factory.mktemp('whole')
  with trainers_shared():
    loop.train(options, run, SILENT)
  return run


@pytest.fixture(scope='session')
def half_run(options, tmp_path_factory) -> pathlib.Path:
  """Stopped in the third epoch, after the checkpoint of step 16."""
  run = tmp_path_factory.mktemp('half')
  with trainers_shared(), before_step(17, crash), pytest.raises(Crash):
    loop.train(options, run, SILENT)
  assert sorted(path.name for path in (run / 'checkpoints').iterdir()) == ['12', '16']
  return run


@pytest.fixture
def half(half_run, tmp_path) -> pathlib.Path:
  return pathlib.Path(shutil.copytree(half_run, tmp_path / 'run'))


@pytest.fixture
def warnings(monkeypatch) -> list[str]:
  """What would be printed on stderr by absl, a line a warning."""
  found: list[str] = []
  monkeypatch.setattr(logging, 'warning', lambda text, *values: found.append(text % values))
  return found
