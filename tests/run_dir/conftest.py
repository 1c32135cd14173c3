"""Shared by the tests of what a run leaves behind."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture
def collected() -> Iterator[None]:
  """So that what is left of a failure is not reported in some later test of another file."""
  yield
  gc.collect()
