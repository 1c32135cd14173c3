"""Photographs per second from a folder to augmented batches: decoded, resized and warped as a
config says, without any training.

  python -m benchmarks pipeline --folder=catsdogs --repeats=5

Stages, each once for every image of the folder, all splits together, in a random order:
  cold     the folder of the cache is empty: all files are listed, decoded and resized into it, then
           batches are read from it and augmented
  cached   the same again: the cache's entry is looked up and mapped into memory, nothing is decoded

The augmentation is compiled beforehand. Files may lie in the system's memory: disks are not
measured. The default config is that of article D3: 150x150 pixels, shear, zoom and flips.
"""

import argparse
import os
import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from benchmarks import command_line, tables
from benchmarks.speed.systems.workers import set_up_process
from cifar_jax import config as configs
from cifar_jax.commands import parsing

STAGES = ('cold', 'cached')
_BATCHES_AHEAD = 4  # augmented before the host waits, as in training


class Turn(NamedTuple):
  """One measurement: images, seconds, and CPU seconds over all threads."""

  images: int
  seconds: float
  cpu_seconds: float


def add_parser(verbs: Any) -> None:
  """Adds the verb to the command line."""
  parser = parsing.add_verb(
    verbs, 'pipeline', run, 'photographs per second, augmented', __doc__, takes_overrides=True
  )
  parser.add_argument('--folder', required=True, help='folder of the photographs')
  command_line.add_options(parser, config='configs/catsdogs_scratch.py', repeats=5, out='pipeline')


def run(arguments: argparse.Namespace) -> None:
  """Measures and writes the table."""
  set_up_process()
  config = configs.load(arguments.config, arguments.overrides)
  config.data.name, config.data.dir = 'folder', arguments.folder
  configs.validate(config)
  turns: dict[str, list[Turn]] = {stage: [] for stage in STAGES}
  go_through = _pipeline(config)
  for _ in range(arguments.repeats):
    with tempfile.TemporaryDirectory(prefix='benchmark_cache_') as cache:
      os.environ['CIFAR_JAX_CACHE'] = cache
      for stage in STAGES:  # the first fills the cache
        turns[stage].append(_timed(go_through))
  name, size = pathlib.Path(arguments.config).stem, '{}x{}'.format(*config.data.folder.image_size)
  about = {'config': name, 'image_size': size, 'batch_size': config.batch_size}
  rows = [{**about, 'stage': stage, **summarize(turns[stage])} for stage in STAGES]
  for row in rows:
    print(
      f'{row["stage"]:8s} {row["images_per_second"]:7.0f} images/s '
      f'({row["lowest"]:.0f} to {row["highest"]:.0f}), {row["cpu_ms_per_image"]:.3f} ms of CPU per '
      f'image, {row["images"]} images, n = {row["repeats"]}'
    )
  tables.write(arguments.out, rows)


def summarize(turns: Sequence[Turn]) -> dict[str, Any]:
  """The columns of a stage: median rate with the lowest and the highest, CPU time per image."""
  cpu_ms = [1e3 * turn.cpu_seconds / turn.images for turn in turns]
  return {
    'images': turns[0].images,
    **tables.rates([turn.images / turn.seconds for turn in turns]),
    'cpu_ms_per_image': round(statistics.median(cpu_ms), 4),
    'repeats': len(turns),
    'version': tables.versions('jax', 'numpy', 'pillow'),
    'machine': tables.machine(),
  }


def _timed(go_through: Callable[[], int]) -> Turn:
  start, cpu_start = time.perf_counter(), time.process_time()
  images = go_through()
  return Turn(images, time.perf_counter() - start, time.process_time() - cpu_start)


def _pipeline(config: ConfigDict) -> Callable[[], int]:
  """A function that brings every image of the folder to the end of the augmentation, and returns
  how many there are.
  """
  import jax
  import numpy as np

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
  augment = jax.jit(make_augment(config.augment, fit_normalize(config.data, pixels)))
  jax.block_until_ready(
    augment(keys.step, keys.example, pixels, np.zeros(size, np.int32), np.int32(0))
  )

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
      ahead.append(augment(key, keys.example, batch, batches[step], np.int32(0)))
      if len(ahead) > _BATCHES_AHEAD:
        ahead.pop(0).block_until_ready()
    jax.block_until_ready(ahead)
    return len(images)

  return go_through
