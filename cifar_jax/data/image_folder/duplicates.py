"""Images that occur in two splits: the same pixels, or the same image saved otherwise.

An image that is trained on and tested with makes the test easier than it looks.
"""

from collections.abc import Sequence

import numpy as np

# Of 128 signs of differences between neighbors. Other sizes, formats and qualities of one
# photograph change up to this many; of two photographs about half differ.
_MOST_BITS = 6
# Mean difference of two thumbnails in gray levels: rules out images without features, whose signs
# are those of noise.
_MOST_LEVELS = 6.0
_CHUNK = 1 << 24  # comparisons at a time: 128 MB


def exact_pairs(first: Sequence[bytes], second: Sequence[bytes]) -> list[tuple[int, int]]:
  """Indices (i, j) where `first[i] == second[j]`, one i for each j."""
  index_of = {digest: i for i, digest in reversed(list(enumerate(first)))}
  return [(index_of[digest], j) for j, digest in enumerate(second) if digest in index_of]


def near_pairs(first: np.ndarray, second: np.ndarray) -> list[tuple[int, int]]:
  """Indices (i, j) of images that look the same, one i, the nearest, for each j.

  Args:
    first: The thumbnails of some images, uint8 [N, 9, 9].
    second: The thumbnails of others, uint8 [M, 9, 9].
  """
  if not len(first) or not len(second):
    return []
  signs, others = _signs(first), _signs(second)
  pairs = []
  rows = max(1, _CHUNK // len(first))
  for start in range(0, len(second), rows):
    distance = np.zeros((len(others[start : start + rows]), len(first)), np.uint16)
    for word in range(signs.shape[1]):
      differing = others[start : start + rows, word, None] ^ signs[None, :, word]
      distance += np.bitwise_count(differing)
    nearest = np.argmin(distance, axis=1)
    for j in np.flatnonzero(distance.min(axis=1) <= _MOST_BITS):
      i, other = int(nearest[j]), start + int(j)
      difference = np.abs(first[i].astype(int) - second[other].astype(int)).mean()
      contrast = min(first[i].std(), second[other].std())
      if difference <= min(_MOST_LEVELS, contrast / 2):
        pairs.append((i, other))
  return pairs


def _signs(thumbnails: np.ndarray) -> np.ndarray:
  """uint64 [N, 2]: whether each pixel is brighter than its right and its lower neighbor."""
  core = thumbnails[:, :8, :8]
  brighter = np.stack([core > thumbnails[:, :8, 1:], core > thumbnails[:, 1:, :8]], axis=1)
  bits = np.packbits(brighter.reshape(len(thumbnails), 128), axis=1)
  return np.ascontiguousarray(bits).view(np.uint64)
