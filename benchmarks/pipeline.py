"""Photographs a second from a folder to augmented batches: decoded, resized and warped as a config
says, without any training.

  python -m benchmarks.pipeline --folder=catsdogs --repeats=5

Stages, each once for every image of the folder, all splits together, in a random order:
  cold     the folder of the cache is empty: all files are listed, decoded and resized into it, then
           batches are read from it and augmented
  cached   the same again: the cache's entry is looked up and mapped into memory, nothing is decoded

The augmentation is compiled beforehand. Files may lie in the system's memory: disks are not
measured. The default config is that of article D3: 150x150 pixels, shear, zoom and flips.
"""

import csv
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import app, flags
from ml_collections import ConfigDict, config_flags

from benchmarks.workers import processor, versions
from cifar_jax.config import parse as configs
from cifar_jax.startup import host_memory, xla_flags
from cifar_jax.utils.errors import exit_on_user_error

_CONFIG = config_flags.DEFINE_config_file(
  'config', 'configs/catsdogs_scratch.py', 'Path of the config file.'
)
_FOLDER = flags.DEFINE_string('folder', None, 'Folder of the photographs.', required=True)
_REPEATS = flags.DEFINE_integer('repeats', 5, 'Measurements of each stage.', lower_bound=1)
_OUT = flags.DEFINE_string('out', 'results/pipeline.csv', 'CSV file to write.')

STAGES = ('cold', 'cached')
_BATCHES_AHEAD = 4  # augmented before the host waits, as in training


class Turn(NamedTuple):
  """One measurement: images, seconds, and CPU seconds over all threads."""

  images: int
  seconds: float
  cpu_seconds: float


def main(argv: Sequence[str]) -> None:
  """Measures as the flags say and writes the table."""
  del argv
  host_memory.configure_malloc()
  xla_flags.set_flags()
  config = _CONFIG.value
  config.data.name, config.data.dir = 'folder', _FOLDER.value
  turns: dict[str, list[Turn]] = {stage: [] for stage in STAGES}
  with exit_on_user_error():
    configs.validate(config)
    go_through = _pipeline(config)
    for _ in range(_REPEATS.value):
      with tempfile.TemporaryDirectory(prefix='benchmark_cache_') as cache:
        os.environ['CIFAR_JAX_CACHE'] = cache
        for stage in STAGES:  # the first fills the cache
          turns[stage].append(_timed(go_through))
  rows = [{**_about(config), 'stage': stage, **summarize(turns[stage])} for stage in STAGES]
  for row in rows:
    print(
      f'{row["stage"]:8s} {row["images_per_second"]:7.0f} images/s '
      f'({row["lowest"]:.0f} to {row["highest"]:.0f}), {row["cpu_ms_per_image"]:.3f} ms of CPU an '
      f'image, {row["images"]} images, n = {row["repeats"]}'
    )
  out = pathlib.Path(_OUT.value)
  out.parent.mkdir(parents=True, exist_ok=True)
  with out.open('w', newline='') as file:
    writer = csv.DictWriter(file, fieldnames=rows[0])
    writer.writeheader()
    writer.writerows(rows)


def summarize(turns: Sequence[Turn]) -> dict[str, Any]:
  """The columns of a stage: median rate with the lowest and the highest, CPU time an image."""
  rates = [turn.images / turn.seconds for turn in turns]
  return {
    'images': turns[0].images,
    'images_per_second': round(statistics.median(rates), 1),
    'lowest': round(min(rates), 1),
    'highest': round(max(rates), 1),
    'cpu_ms_per_image': round(
      statistics.median(1e3 * turn.cpu_seconds / turn.images for turn in turns), 4
    ),
    'repeats': len(turns),
    'version': versions('jax', 'numpy', 'pillow'),
    'machine': f'{processor()}, {os.cpu_count()} cores',
  }


def _about(config: ConfigDict) -> dict[str, Any]:
  name = pathlib.Path(config_flags.get_config_filename(flags.FLAGS['config'])).stem
  height, width = config.data.folder.image_size
  return {'config': name, 'image_size': f'{height}x{width}', 'batch_size': config.batch_size}


def _timed(go_through: Callable[[], int]) -> Turn:
  start, cpu_start = time.perf_counter(), time.process_time()
  images = go_through()
  return Turn(images, time.perf_counter() - start, time.process_time() - cpu_start)


def _pipeline(config: ConfigDict) -> Callable[[], int]:
  """A function that brings every image of the folder to the end of the augmentation, and returns
  how many there are.
  """
  import jax

  from cifar_jax.augment import make_augment
  from cifar_jax.augment.normalize import fit_normalize
  from cifar_jax.data.dataset import Split
  from cifar_jax.data.image_folder import decoded
  from cifar_jax.data.image_folder.listing import list_folder
  from cifar_jax.data.preprocessing import of_folder
  from cifar_jax.training.steps import random_keys

  options, size = config.data.folder, config.batch_size
  preprocessing = of_folder(config.data)
  pixels = np.random.default_rng(0).integers(0, 256, (size, *preprocessing.shape), np.uint8)
  keys = random_keys(config.seed)
  augment = jax.jit(make_augment(config.augment, fit_normalize(config.data, pixels), keys.example))
  jax.block_until_ready(augment(keys.step, pixels, np.zeros(size, np.int32), np.int32(0)))

  def go_through() -> int:
    listing = list_folder(pathlib.Path(config.data.dir))
    folder = decoded.load(listing, preprocessing, options.workers or os.cpu_count() or 1)
    images = folder.images
    # The last batch is filled from the front, so that all are of the compiled size.
    order = np.random.default_rng(config.seed).permutation(len(images)).astype(np.int32)
    batches = np.resize(order, (-(-len(order) // size), size))
    split = Split(images, np.zeros(len(images), np.int32))
    ahead: list[jax.Array] = []
    for step, batch in enumerate(split.batches(batches)):
      key = jax.random.fold_in(keys.step, step)
      ahead.append(augment(key, batch, batches[step], np.int32(0)))
      if len(ahead) > _BATCHES_AHEAD:
        ahead.pop(0).block_until_ready()
    jax.block_until_ready(ahead)
    return len(images)

  return go_through


if __name__ == '__main__':
  app.run(main)
