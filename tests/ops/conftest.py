"""Shared by the tests of the kernels."""

import pytest

from tests.helpers import kernels


@pytest.fixture(autouse=True)
def same_numbers() -> None:
  """A test draws the same ones whichever tests ran before it."""
  kernels.RNG.bit_generator.state = kernels.FIRST_STATE
