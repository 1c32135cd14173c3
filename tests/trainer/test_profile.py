import gzip
import json
import pathlib

import pytest
from ml_collections import ConfigDict

from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop

SILENT = Progress('silent')


def with_profile(config: ConfigDict, **values: int) -> ConfigDict:
  copy = ConfigDict(config.copy_and_resolve_references())
  copy.profile.update(values)
  copy.epochs = 1
  return copy.lock()


def traced_steps(run: pathlib.Path) -> list[list[int]]:
  """For each trace in the run: the updates before each dispatch that is marked in it."""
  steps = []
  for path in sorted(run.glob('tensorboard/plugins/profile/*/*.trace.json.gz')):
    assert list(path.parent.glob('*.xplane.pb'))  # what TensorBoard reads
    events = json.loads(gzip.decompress(path.read_bytes()))['traceEvents']
    marks = [event['args'] for event in events if event.get('name') == 'train']
    steps.append([int(mark['step_num']) for mark in marks])
  return steps


def test_records_the_steps_asked_for_and_changes_nothing(tiny_config, tmp_path, capsys) -> None:
  config = with_profile(tiny_config, steps=2, after_steps=1)
  traced = loop.train(config, tmp_path / 'traced', Progress('lines'))
  assert traced_steps(tmp_path / 'traced') == [[1, 2]]
  assert 'trace of 2 steps' in capsys.readouterr().out
  plain = loop.train(with_profile(tiny_config), tmp_path / 'plain', SILENT)
  assert traced_steps(tmp_path / 'plain') == []
  assert traced['test_loss'] == plain['test_loss']


@pytest.mark.thorough
def test_a_run_that_ends_first_writes_what_there_was(tiny_config, tmp_path) -> None:
  config = with_profile(tiny_config, steps=100, after_steps=4)
  loop.train(config, tmp_path, SILENT)
  assert traced_steps(tmp_path) == [[4, 5]]  # six steps in all
