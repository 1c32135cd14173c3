"""Shared by all tests: eight fake CPU devices, strict array shapes, and a config that trains in a
second.
"""

import os
import pathlib
import tempfile

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from tests.helpers import tiny

# Programs compiled by one test, or one of its processes, serve the others; none outlives the
# session. The processes that share the tests among them inherit the folder.
if 'PYTEST_XDIST_WORKER' not in os.environ:
  _CACHE = tempfile.TemporaryDirectory(prefix='cifar_jax_tests_')
  os.environ['CIFAR_JAX_CACHE'] = _CACHE.name

# Programs that call oneDNN cannot be kept; tests/ops/test_onednn.py and test_resume.py turn it on,
# and CIFAR_JAX_ONEDNN=on in the environment does for all.
os.environ.setdefault('CIFAR_JAX_ONEDNN', 'off')

jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_numpy_rank_promotion', 'raise')


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
  """No processes beside this one for the claims: each of them trains on all cores."""
  return 0 if config.option.markexpr == 'claims' else None


@pytest.fixture(scope='session')
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """An .npz of 200 training and 90 test images 8x8x3; the class shifts the brightness of one
  corner.
  """
  generator = np.random.default_rng(0)

  def images_and_labels(count: int) -> tuple[np.ndarray, np.ndarray]:
    labels = generator.integers(0, 4, count)
    images = generator.integers(0, 128, (count, 8, 8, 3))
    for corner, (row, column) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4)]):
      images[labels == corner, row : row + 4, column : column + 4] += 96
    return images.astype(np.uint8), labels.astype(np.uint8)

  path = tmp_path_factory.mktemp('data') / 'tiny.npz'
  (x_train, y_train), (x_test, y_test) = images_and_labels(200), images_and_labels(90)
  np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
  return path


@pytest.fixture
def tiny_config(tiny_data: pathlib.Path) -> ConfigDict:
  """A small network with BatchNorm and dropout: six steps an epoch, the last one short; locked."""
  config = tiny.get_config()
  config.data.dir = str(tiny_data)
  return config.lock()


@pytest.fixture(scope='session')
def tiny_run(tiny_data: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """The folder of a finished run of two epochs; treat it as read-only but for report/."""
  from cifar_jax.run_dir.progress import Progress
  from cifar_jax.trainer.loop import train

  run = tmp_path_factory.mktemp('runs') / 'tiny'
  config = tiny.get_config()
  config.epochs = 2
  config.batch_size = 45  # of 180 images: no short batch, so a single program is compiled
  config.model.block = ('conv3 same', 'max_pool')
  config.model.head = ('flatten',)
  config.tags = ('small', 'first')
  config.data.dir = str(tiny_data)
  train(config.lock(), run, Progress('silent'))
  return run
