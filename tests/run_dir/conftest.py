"""Shared by the tests of what a run leaves behind."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope='module')
def collected() -> Iterator[None]:
  """So that what is left of failures is not reported in some later test of another file. Not after
  each test, since a search of the collector through all that was imported takes half a second.
  """
  yield
  gc.collect()
