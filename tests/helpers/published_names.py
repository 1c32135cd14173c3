"""Tensors of networks that PyTorch's libraries made, mostly in small: their names and shapes, and
the logits that the libraries computed with the values below, are in tests/fixtures/weights.
"""

import json
import pathlib
import zlib
from typing import Any

import numpy as np

_PATH = pathlib.Path(__file__).parent.parent / 'fixtures' / 'weights' / 'published.json'


def load() -> dict[str, Any]:
  """By title: 'tensors' (name -> shape), 'size' (of the images), 'logits' [2][classes]."""
  return json.loads(_PATH.read_text('utf-8'))['networks']


def values(name: str, shape: list[int]) -> np.ndarray:
  """What the tensor of that name holds: some numbers, the same everywhere."""
  count = int(np.prod(shape))
  waves = np.sin(12.9898 * np.arange(count) + zlib.crc32(name.encode()) % 1000)
  if name.endswith('running_var') or (len(shape) == 1 and name.endswith('weight')):
    numbers = 1 + waves / 2
  elif len(shape) > 1 and 'scale' not in name:
    numbers = waves * np.sqrt(2 / np.prod(shape[1:]))
  else:
    numbers = waves / 4
  return numbers.reshape(shape).astype(np.float32)


def images(size: int) -> np.ndarray:
  """Two images, float32 [2, size, size, 3]."""
  return np.sin(78.233 * np.arange(2 * size * size * 3)).reshape(2, size, size, 3).astype('f')
