"""In a process of its own, since a benchmark sets up the process and chooses its cache."""

import os
import pathlib
import subprocess
import sys

import pytest

pytest.importorskip('PIL')

from benchmarks.tables import RESULTS, read
from tests.helpers import REPOSITORY
from tests.helpers.picture_files import write_tree


def measure(folder: pathlib.Path, tmp_path: pathlib.Path) -> subprocess.CompletedProcess:
  return subprocess.run(
    [
      *(sys.executable, '-m', 'benchmarks', 'pipeline', f'--folder={folder}', '--repeats=2'),
      *(f'--out={tmp_path / "pipeline.csv"}', '--config.data.folder.image_size=(8,12)'),
    ],
    cwd=REPOSITORY,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu', 'CIFAR_JAX_CACHE': str(tmp_path / 'cache')},
    capture_output=True,
    text=True,
    timeout=120,
  )


def test_every_image_counts_once_and_the_users_cache_stays_as_it_is(tmp_path) -> None:
  """33 images are a batch of 32 and one more."""
  counts = {'train/a': 15, 'train/b': 14, 'validation/a': 2, 'validation/b': 2}
  finished = measure(write_tree(tmp_path / 'tree', counts), tmp_path)
  assert finished.returncode == 0, finished.stderr
  rows = read(tmp_path / 'pipeline.csv')
  assert [row['stage'] for row in rows] == ['cold', 'cached']
  assert list(rows[0]) == list(read(RESULTS / 'pipeline.csv')[0])
  for row in rows:
    assert (row['images'], row['repeats'], row['image_size']) == ('33', '2', '8x12')
    lowest, median, highest = (
      float(row[name]) for name in ('lowest', 'images_per_second', 'highest')
    )
    assert 0 < lowest < highest
    assert median == pytest.approx((lowest + highest) / 2, abs=0.1)  # of two
    assert f'{row["stage"]:8s} {median:7.0f} images/s' in finished.stdout
  # Which flags of XLA work here may be noted; no image is kept.
  kept = [path.name for path in (tmp_path / 'cache').glob('*')]
  assert set(kept) <= {'trials'}


@pytest.mark.thorough
def test_a_folder_without_images_is_named(tmp_path) -> None:
  finished = measure(tmp_path / 'absent', tmp_path)
  assert finished.returncode != 0
  assert f'--config.data.dir={tmp_path / "absent"} is no folder' in finished.stderr
  assert 'Traceback' not in finished.stderr
