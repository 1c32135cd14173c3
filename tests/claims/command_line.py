"""The toolkit as users start it: processes of their own, with what tests turn off turned on."""

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

from tests.helpers import REPOSITORY

# tests/conftest.py turns oneDNN off for itself; a user's training has it.
_OF_TESTS = ('CIFAR_JAX_ONEDNN', 'PYTEST_CURRENT_TEST', 'PYTEST_XDIST_WORKER')


def environment() -> dict[str, str]:
  return {
    **{name: value for name, value in os.environ.items() if name not in _OF_TESTS},
    'JAX_PLATFORMS': 'cpu',
  }


def python(*arguments: str, seconds: float = 900) -> str:
  """stdout of a process that must end well."""
  finished = subprocess.run(
    [sys.executable, *arguments],
    cwd=REPOSITORY,
    env=environment(),
    capture_output=True,
    text=True,
    timeout=seconds,
  )
  assert finished.returncode == 0, finished.stdout[-2000:] + finished.stderr[-4000:]
  return finished.stdout


def launch(run: pathlib.Path, config: str, *options: str, seconds: float = 900) -> dict[str, Any]:
  """summary.json of a training by launch.py, in float32 as all defaults are.

  Args:
    run: The folder of the run.
    config: The name of a file in configs/.
    options: Options such as 'epochs=2', without '--config.'.
    seconds: The seconds after which it has failed.
  """
  python(*command(run, config, *options), seconds=seconds)
  return json.loads((run / 'summary.json').read_text())


def command(run: pathlib.Path, config: str, *options: str) -> list[str]:
  flags = [f'--config.{option}' for option in ('tensorboard=False', *options)]
  return ['launch.py', f'--config=configs/{config}.py', f'--workdir={run}', *flags]
