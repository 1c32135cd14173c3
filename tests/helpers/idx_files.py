"""Small idx files in MNIST's layout."""

import gzip
import pathlib
import struct

import numpy as np

IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
LABELS = bytes([9, 0])


def files() -> dict[str, bytes]:
  images = struct.pack('>4B3I', 0, 0, 8, 3, 2, 3, 4) + IMAGES.tobytes()
  labels = struct.pack('>4BI', 0, 0, 8, 1, 2) + LABELS
  return {
    'train-images-idx3-ubyte': images,
    'train-labels-idx1-ubyte': labels,
    't10k-images-idx3-ubyte': images,
    't10k-labels-idx1-ubyte': labels,
  }


def write(folder: pathlib.Path, contents: dict[str, bytes], packed: bool = False) -> pathlib.Path:
  folder.mkdir(parents=True, exist_ok=True)
  for name, content in contents.items():
    path = folder / (f'{name}.gz' if packed else name)
    path.write_bytes(gzip.compress(content) if packed else content)
  return folder
