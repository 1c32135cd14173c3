"""Python in a process of its own, on the CPU, with this repository's code."""

import os
import pathlib
import subprocess
import sys

from tests.helpers import REPOSITORY


def run_python(
  *arguments: str, cwd: pathlib.Path = REPOSITORY, **environment: str
) -> subprocess.CompletedProcess[str]:
  """Its status, stdout and stderr; `environment` comes in the place of the variables here."""
  return subprocess.run(
    [sys.executable, *arguments],
    cwd=cwd,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': str(REPOSITORY), **environment},
    capture_output=True,
    text=True,
    timeout=300,
    check=False,
  )
