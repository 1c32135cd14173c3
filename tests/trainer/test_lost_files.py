"""Files of a run that are lost, edited or damaged between two sessions: the same bits all the same,
or one sentence; nothing is lost.
"""

import csv
import json
import pathlib
import shutil

import numpy as np
import pytest

from cifar_jax.run_dir import meanings
from cifar_jax.trainer import loop, resume
from cifar_jax.utils.errors import UserError
from tests.helpers.before_step import before_step
from tests.helpers.runs import (
  SILENT,
  assert_as_uninterrupted,
  changed,
  resumed,
  rows_of,
)

pytestmark = pytest.mark.usefixtures('shared_trainers')


def edit_csv(how: str, path: pathlib.Path) -> None:
  lines = path.read_text().splitlines(keepends=True)
  if how == 'deleted':
    path.unlink()
  elif how == 'older':
    path.write_text(''.join(lines[:2]))
  elif how == 'better by hand':  # an epoch that no other would beat
    row = next(csv.DictReader(lines))
    path.write_text(''.join(lines).replace(row['val_accuracy'], '1.0', 1))
  elif how == 'German':
    path.write_text(''.join(lines).replace(',', ';').replace('.', ','))
  elif how == 'UTF-16':
    path.write_text(''.join(lines), encoding='utf-16')


@pytest.mark.parametrize(
  'how',
  [
    *('deleted', 'better by hand'),
    *(pytest.param(how, marks=pytest.mark.thorough) for how in ('older', 'German', 'UTF-16')),
  ],
)
def test_history_is_that_of_the_checkpoint(options, half, whole, capsys, how) -> None:
  path = half / 'metrics.csv'
  edit_csv(how, path)
  edited = path.read_bytes() if path.exists() else b''
  said = resumed(options, half, capsys)
  assert_as_uninterrupted(options, half, whole)
  rates = [float(row['learning_rate']) for row in rows_of(half)]
  # The first epoch improves on nothing; two later ones without a gain of 10 halve the rate.
  np.testing.assert_allclose(rates, [1e-3] * 3 + [5e-4] * 2, rtol=1e-6)
  kept = sorted(entry.name for entry in half.glob('metrics.csv.*'))
  if how in ('deleted', 'older'):
    assert kept == []
    assert ('is missing and' if how == 'deleted' else 'ends before the checkpoint') in said
  else:
    assert kept == ['metrics.csv.kept1']
    assert (half / kept[0]).read_bytes() == edited
    assert 'metrics.csv is not what the checkpoint says: it is kept as metrics.csv.kept1' in said


def test_summary_and_metrics_deleted_after_the_end(options, whole, tmp_path, capsys) -> None:
  run = pathlib.Path(shutil.copytree(whole, tmp_path / 'run'))
  (run / 'metrics.csv').unlink()
  (run / 'summary.json').unlink()
  resumed(options, run, capsys)
  assert_as_uninterrupted(options, run, whole)


def without_new_facts(run: pathlib.Path) -> None:
  """Makes the checkpoints what they were before they had a history, a config and checksums."""
  for path in run.glob('*/*/facts/metadata'):
    facts = json.loads(path.read_text())
    for name in ('history', 'config', 'arrays', 'checksum'):
      del facts[name]
    path.write_text(json.dumps(facts))
    (path.parents[1] / 'files.json').unlink()


@pytest.mark.thorough
def test_older_runs_go_on_by_their_metrics(options, half, whole, capsys) -> None:
  without_new_facts(half)
  resumed(options, half, capsys)
  assert_as_uninterrupted(options, half, whole)


def test_older_runs_whose_metrics_cannot_be_read_say_so(options, half, whole, capsys) -> None:
  without_new_facts(half)
  path = half / 'metrics.csv'
  content = path.read_bytes()
  path.write_bytes(b'"' + content)
  with pytest.raises(UserError, match=r'metrics\.csv cannot be read .*restore it from a copy, or'):
    loop.train(options, half, SILENT)
  path.write_bytes(content)
  resumed(options, half, capsys)
  assert_as_uninterrupted(options, half, whole)


def test_older_finished_run_without_metrics_and_summary(options, whole, tmp_path, capsys) -> None:
  """The last epoch and the best one are among the facts of checkpoints of any version."""
  run = pathlib.Path(shutil.copytree(whole, tmp_path / 'run'))
  without_new_facts(run)
  expected = json.loads((run / 'summary.json').read_text())
  (run / 'metrics.csv').unlink()
  (run / 'summary.json').unlink()
  resumed(options, run, capsys)
  found = json.loads((run / 'summary.json').read_text())
  for name in ('best_epoch', 'best_val_accuracy', 'last_epoch', 'test_loss'):
    assert found[name] == expected[name]


@pytest.mark.parametrize('name', ['config.json', 'about.json'])
def test_a_finished_run_gets_lost_files_back(options, whole, tmp_path, name) -> None:
  run = pathlib.Path(shutil.copytree(whole, tmp_path / 'run'))
  expected = json.loads((run / name).read_text())
  (run / name).unlink()
  loop.train(options, run, SILENT)
  assert json.loads((run / name).read_text()) == expected
  assert rows_of(run) == rows_of(whole)


def test_losses_of_before_are_named(options) -> None:
  """Older versions reported the smoothed loss, and kept no history in the checkpoint."""
  smoothed = changed(options, **{'loss.label_smoothing': 0.1})
  assert 'with label smoothing' in resume.note_on_losses(smoothed, {'data': 1})
  assert resume.note_on_losses(smoothed, {'data': 1, 'history': []}) == ''
  assert resume.note_on_losses(options, {'data': 1}) == ''


def test_without_config_json_other_options_are_refused(options, half, whole, capsys) -> None:
  config_file = (half / 'config.json').read_bytes()
  (half / 'config.json').unlink()
  other = changed(options, batch_size=16, **{'optimizer.learning_rate': 0.5})
  with pytest.raises(
    UserError,
    match=r'another config: batch_size was 30 and is now 16; optimizer\.learning_rate was',
  ):
    loop.train(other, half, SILENT)
  assert not (half / 'config.json').exists()
  resumed(options, half, capsys)
  assert (half / 'config.json').read_bytes() == config_file
  assert_as_uninterrupted(options, half, whole)


def test_without_checkpoints_the_best_one_goes_on(options, half, whole, capsys, warnings) -> None:
  best = int(next((half / 'best').iterdir()).name)
  shutil.rmtree(half / 'checkpoints')
  said = resumed(options, half, capsys)
  assert f'resuming after step {best} of 30' in said
  assert (
    f'{half}/checkpoints holds no checkpoint; the one of step {best} in {half}/best is used in its '
    'place'
  ) in warnings
  assert_as_uninterrupted(options, half, whole)


def test_without_any_checkpoint_the_metrics_of_before_are_kept(
  options, half, whole, capsys
) -> None:
  before = (half / 'metrics.csv').read_bytes()
  shutil.rmtree(half / 'checkpoints')
  shutil.rmtree(half / 'best')
  said = resumed(options, half, capsys)
  assert (
    'holds no checkpoint: the run starts anew, and its metrics of before are metrics.csv' in said
  )
  assert (half / 'metrics.csv.kept1').read_bytes() == before
  assert_as_uninterrupted(options, half, whole)


@pytest.mark.parametrize(
  'what',
  ['folder', 'content', 'metrics', pytest.param('checkpoints', marks=pytest.mark.thorough)],
)
def test_deleted_while_training(options, whole, tmp_path, what) -> None:
  """Without its folder a run stops with a sentence; without a part of it, it goes on."""
  run = tmp_path / 'run'

  def delete() -> None:
    if what == 'folder':
      shutil.rmtree(run)
    elif what == 'content':  # rm -r run/* spares .lock
      for path in run.glob('[!.]*'):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif what == 'metrics':
      (run / 'metrics.csv').unlink()
    else:
      shutil.rmtree(run / 'checkpoints')

  if what in ('folder', 'content'):
    deleted = pytest.raises(UserError, match='was deleted while the run was training')
    with before_step(7, delete), deleted as error:
      loop.train(options, run, SILENT)
    assert '\n' not in str(error.value)
    assert not (run / 'metrics.csv').exists()
  else:
    with before_step(7, delete):
      loop.train(options, run, SILENT)
    assert_as_uninterrupted(options, run, whole)


def test_made_again_while_training(options, tmp_path) -> None:
  """Another process has begun in the same place: it is left alone."""
  run = tmp_path / 'run'

  def replace() -> None:
    shutil.copytree(run.rename(tmp_path / 'moved'), run)

  again = pytest.raises(UserError, match='was deleted and made again while the run was training')
  with before_step(7, replace), again:
    loop.train(options, run, SILENT)
  assert sorted(path.name for path in (run / 'checkpoints').iterdir()) == ['4', '6']


def test_what_a_run_writes_is_explained(whole) -> None:
  """No column, key or file without a sentence, and no sentence on what is not written."""
  header = (whole / 'metrics.csv').read_text().splitlines()[0]
  assert header.split(',') == list(meanings.METRICS)
  summary, about = (
    set(json.loads((whole / name).read_text())) for name in ('summary.json', 'about.json')
  )
  assert summary | {'runs_together'} == set(meanings.SUMMARY)
  assert about == set(meanings.ABOUT)
  files = {path.name + '/' * path.is_dir() for path in whole.iterdir()}
  assert files == set(meanings.FILES) - {'normalization.npz', 'report/', 'tensorboard/'}
