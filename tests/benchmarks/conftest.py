import pathlib
import sys

import pytest

from benchmarks.results import queue
from benchmarks.results.queued import children
from tests.helpers.fake_launch import LAUNCH


@pytest.fixture
def here(tmp_path, monkeypatch) -> pathlib.Path:
  """A folder in which a launch.py that only leaves files is used, and no run is finished."""
  (tmp_path / 'launch.py').write_text(LAUNCH)
  monkeypatch.setattr(children, 'LAUNCHER', (sys.executable, str(tmp_path / 'launch.py')))
  monkeypatch.setattr(queue, 'QUEUE', tmp_path / 'queue.toml')
  for name in children._FRACTIONS:
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setattr(children, 'commit', lambda: 'abc1234')
  return tmp_path
