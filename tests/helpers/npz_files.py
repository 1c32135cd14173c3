"""A small data set in one .npz file."""

import pathlib
from typing import Any

import numpy as np


def arrays(**changes: Any) -> dict[str, Any]:
  generator = np.random.default_rng(0)
  whole = {
    'x_train': generator.integers(0, 256, (6, 4, 5, 3), dtype=np.uint8),
    'y_train': np.array([0, 1, 2, 0, 1, 2]),
    'x_test': generator.integers(0, 256, (3, 4, 5, 3), dtype=np.uint8),
    'y_test': np.array([2, 1, 0]),
    **changes,
  }
  return {name: array for name, array in whole.items() if array is not None}


def write(path: pathlib.Path, **changes: Any) -> pathlib.Path:
  np.savez(path, **arrays(**changes))
  return path
