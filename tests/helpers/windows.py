"""What a random crop may choose from."""

import numpy as np


def windows(image: np.ndarray, padding: int) -> np.ndarray:
  """All windows of the reflected image, [(2 padding + 1)**2, H, W, C], row by row."""
  height, width, _ = image.shape
  padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), mode='reflect')
  return np.stack(
    [
      padded[y : y + height, x : x + width]
      for y in range(2 * padding + 1)
      for x in range(2 * padding + 1)
    ]
  )
