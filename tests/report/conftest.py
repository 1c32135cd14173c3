"""A small trained run for everything that looks at runs."""

import pathlib

import pytest

from cifar_jax.loop import train
from cifar_jax.progress import Progress
from tests.configs import tiny


@pytest.fixture(scope='session')
def tiny_run(tiny_data: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """The folder of a finished run of two epochs; treat it as read-only but for report/."""
  run = tmp_path_factory.mktemp('runs') / 'tiny'
  config = tiny.get_config()
  config.epochs = 2
  config.tags = ('small', 'first')
  config.data.dir = str(tiny_data)
  train(config.lock(), run, Progress('silent'))
  return run
