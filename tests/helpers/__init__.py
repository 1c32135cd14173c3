"""What several test modules share; no test module imports another one."""

import pathlib

REPOSITORY = pathlib.Path(__file__).parents[2]
