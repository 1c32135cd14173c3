"""Runs that end in the middle of an epoch."""

import numpy as np
import pytest

from cifar_jax.predict.evaluate import evaluate
from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop
from cifar_jax.utils.errors import UserError
from tests.helpers.runs import SILENT, assert_identical, changed, rows_of, state_of


def test_max_steps_ends_in_the_middle_of_an_epoch(tiny_config, tmp_path, capsys) -> None:
  """8 steps of 6 an epoch: the last row is that of an unfinished epoch, validated and saved."""
  config = changed(tiny_config, max_steps=8, **{'schedule.name': 'cosine'})
  results = loop.train(config, tmp_path, Progress('lines'))
  assert results['steps'] == 8
  assert ' after 8 steps, ' in capsys.readouterr().out
  rows = rows_of(tmp_path)
  assert [(row['step'], row['epoch']) for row in rows] == [('6', '1'), ('8', '2')]
  # The schedule spans the 8 steps: after 7 updates a cosine has this far to go.
  rate = 1e-3 * (1 + np.cos(np.pi * 7 / 8)) / 2
  assert float(rows[1]['learning_rate']) == pytest.approx(rate, rel=1e-4)
  assert results['val_accuracy'] == float(rows[1]['val_accuracy'])
  assert evaluate(tmp_path, split='validation')['accuracy'] == results['val_accuracy']
  with Checkpoints(tmp_path, read_only=True) as checkpoints:
    assert checkpoints.latest() == 8
  before = (tmp_path / 'summary.json').read_bytes()
  loop.train(config, tmp_path, Progress('lines'))  # has finished
  assert '--config.max_steps=16 would go on' in capsys.readouterr().out
  assert (tmp_path / 'summary.json').read_bytes() == before
  with pytest.raises(UserError, match=r'already made 8 updates, more than --config\.max_steps=7;'):
    loop.train(changed(config, max_steps=7), tmp_path, SILENT)


@pytest.mark.thorough
def test_max_steps_may_be_raised(tiny_config, tmp_path) -> None:
  for steps in (8, 0):
    loop.train(changed(tiny_config, max_steps=steps), tmp_path / 'parts', SILENT)
  loop.train(tiny_config, tmp_path / 'whole', SILENT)
  assert_identical(
    state_of(tiny_config, tmp_path / 'parts'), state_of(tiny_config, tmp_path / 'whole')
  )


@pytest.mark.thorough
def test_many_steps_in_one_dispatch_stop_at_max_steps(tiny_config, tmp_path) -> None:
  config = changed(tiny_config, max_steps=8, steps_per_dispatch=100)
  assert loop.train(config, tmp_path, SILENT)['steps'] == 8
  assert state_of(config, tmp_path).step == 8
