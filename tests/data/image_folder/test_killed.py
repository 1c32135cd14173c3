"""Runs on photographs, killed in the middle of an epoch and not: the same bits."""

import pathlib
import signal

import pytest

pytest.importorskip('PIL')
pytest.importorskip('grain')

from tests.helpers import tiny
from tests.helpers.killed_run import session
from tests.helpers.picture_files import write_tree
from tests.helpers.runs import assert_identical, changed, rows_of, state_of

WORKERS = 2
OPTIONS = {
  'data.name': 'folder',
  'data.folder.image_size': (8, 8),
  'data.folder.workers': WORKERS,
  'augment.flip': 'random',
  'augment.shear': 0.2,
  'augment.zoom': 0.2,
  'batch_size': 8,  # 44 images: six steps per epoch, the last one short
}
KINDS = {
  'cached': {'data.folder.cache': True},
  'streamed': {'data.folder.cache': False, 'data.placement': 'host'},
}


@pytest.fixture(scope='module')
def tree(tmp_path_factory) -> pathlib.Path:
  counts = {'train/a': 23, 'train/b': 21, 'validation/a': 4, 'validation/b': 5}
  return write_tree(tmp_path_factory.mktemp('photographs'), counts)


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
def test_kill_9_in_mid_epoch_and_resume(tree, tmp_path, kind) -> None:
  """Checkpoints are written after steps 4, 6, 8 and 12; the epoch of step 10 begins with step 6.

  Workers that outlived the killed process would hold its output open, and `session` would run out
  of time.
  """
  options = {**OPTIONS, **KINDS[kind]}
  whole, parts = tmp_path / 'whole', tmp_path / 'parts'
  straight = session(whole, tree, **options)
  assert straight.returncode == 0, straight.stderr
  killed = session(parts, tree, 'step', 10, **options)
  assert killed.returncode == -signal.SIGKILL, killed.stderr
  assert max(int(path.name) for path in (parts / 'checkpoints').iterdir()) == 8
  again = session(parts, tree, **options)
  assert again.returncode == 0, again.stderr
  assert 'resuming after step 8 of 18' in again.stdout
  assert ('waiting for images' in again.stdout) == (kind == 'streamed')
  config = tiny.get_config()
  config.data.dir = str(tree)
  config = changed(config, **options)
  assert_identical(state_of(config, parts), state_of(config, whole))
  assert rows_of(parts) == rows_of(whole)
