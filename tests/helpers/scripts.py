"""Python files run as scripts, where what they import has been imported before."""

import os
import runpy
import sys

from tests.helpers import REPOSITORY


def as_script(path: str, *arguments: str) -> None:
  """`python PATH ARGUMENTS` in the repository's folder, for `warm_process.run`."""
  os.chdir(REPOSITORY)
  sys.argv = [path, *arguments]
  runpy.run_path(path, run_name='__main__')
