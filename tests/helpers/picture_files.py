"""Small trees of image files for the tests."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from configs import base


def picture(number: int, height: int = 20, width: int = 30) -> Image.Image:
  """Smooth random colors: each number another picture, which survives JPEG."""
  generator = np.random.default_rng(number)
  small = generator.integers(0, 256, (4, 5, 3)).astype(np.uint8)
  return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def write_tree(root: pathlib.Path, counts: Mapping[str, int], suffix: str = '.png') -> pathlib.Path:
  """Writes so many pictures, all different, into each of the folders 'train/cats' and so on."""
  number = 0
  for folder, count in counts.items():
    (root / folder).mkdir(parents=True, exist_ok=True)
    for place in range(count):
      picture(number).save(root / folder / f'{place:03d}{suffix}')
      number += 1
  return root


def data_config(root: pathlib.Path, image_size: Sequence[int] = (8, 8), **options) -> ConfigDict:
  """config.data for a folder; options are those of config.data.folder."""
  config = base.get_config().data
  config.name, config.dir = 'folder', str(root)
  config.folder.image_size = tuple(image_size)
  config.folder.update(options)
  return config
