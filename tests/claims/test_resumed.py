"""A run on CIFAR-10 that was interrupted ends with the same bits as one that was not."""

import pathlib
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from cifar_jax.run_dir.checkpoint import Checkpoints
from tests.claims.command_line import command, environment, launch
from tests.helpers import REPOSITORY

pytestmark = pytest.mark.claims
# BatchNorm, dropout and draws of several kinds.
OPTIONS = (
  'data.validation=1000',
  'batch_size=64',
  'max_steps=60',
  'checkpoint.every_steps=5',
  'augment.flip=random',
  'augment.crop_padding=2',
  'data.normalize=channel',
)


@pytest.fixture(scope='module')
def straight(cifar10, tmp_path_factory) -> pathlib.Path:
  run = tmp_path_factory.mktemp('straight')
  launch(run, 'cnn_adv', *OPTIONS)
  return run


def variables_of(run: pathlib.Path):
  with Checkpoints(run, read_only=True) as checkpoints:
    restored = checkpoints.restore_variables()
  assert restored is not None
  return restored


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGKILL'])
def test_interrupted_and_resumed(straight, tmp_path, name) -> None:
  """Interrupted between steps 20 and 60."""
  number = getattr(signal, name)
  run = tmp_path / 'run'
  with subprocess.Popen(
    [sys.executable, *command(run, 'cnn_adv', *OPTIONS)],
    cwd=REPOSITORY,
    env=environment(),
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  ) as process:
    deadline = time.monotonic() + 500
    while not any(int(path.name) >= 20 for path in (run / 'checkpoints').glob('[0-9]?')):
      assert process.poll() is None
      assert time.monotonic() < deadline
      time.sleep(0.05)
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
  assert process.returncode == (0 if number == signal.SIGTERM else -number), output
  assert not (run / 'summary.json').exists()
  summary = launch(run, 'cnn_adv', *OPTIONS)
  expected, found = variables_of(straight), variables_of(run)
  assert expected[1] == found[1] == summary['steps']
  jax.tree.map(np.testing.assert_array_equal, expected[0], found[0])
