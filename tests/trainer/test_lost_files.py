"""Files of a run that are lost, edited or damaged between two sessions: the same bits all the same,
or one sentence; nothing is lost.
"""

import csv
import json
import pathlib
import shutil

import numpy as np
import pytest
from absl import logging

from cifar_jax import commands
from cifar_jax import config as configs
from cifar_jax.predict import classifier
from cifar_jax.predict.evaluate import evaluate
from cifar_jax.run_dir import checkpoint, run_files
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop, resume
from cifar_jax.utils.errors import UserError
from tests.helpers.before_step import Crash, before_step, crash
from tests.helpers.runs import SILENT, assert_identical, changed, rows_of, state_of

pytestmark = pytest.mark.usefixtures('shared_trainers')


@pytest.fixture(scope='module')
def options(tiny_data):
  """Six epochs whose rate depends on all of them, by a rule that never sees an improvement."""
  from tests.helpers import tiny

  config = tiny.get_config()
  config.data.dir = str(tiny_data)
  return changed(
    config.lock(),
    epochs=6,
    **{
      'plateau.patience': 3,
      'plateau.min_delta': 10.0,
      'plateau.factor': 0.5,
      'checkpoint.every_steps': 4,
    },
  )


@pytest.fixture(scope='module')
def whole(options, tmp_path_factory) -> pathlib.Path:
  run = tmp_path_factory.mktemp('whole')
  loop.train(options, run, SILENT)
  return run


@pytest.fixture(scope='module')
def half_run(options, tmp_path_factory) -> pathlib.Path:
  """Stopped in the third epoch, after the checkpoint of step 16."""
  run = tmp_path_factory.mktemp('half')
  with before_step(17, crash), pytest.raises(Crash):
    loop.train(options, run, SILENT)
  assert sorted(path.name for path in (run / 'checkpoints').iterdir()) == ['12', '16']
  return run


@pytest.fixture
def half(half_run, tmp_path) -> pathlib.Path:
  return pathlib.Path(shutil.copytree(half_run, tmp_path / 'run'))


@pytest.fixture
def warnings(monkeypatch) -> list[str]:
  """What would be printed on stderr by absl, a line a warning."""
  found: list[str] = []
  monkeypatch.setattr(logging, 'warning', lambda text, *values: found.append(text % values))
  return found


def resumed(config, run: pathlib.Path, capsys) -> str:
  """Trains to the end; returns what was printed beside the usual."""
  capsys.readouterr()
  loop.train(config, run, Progress('lines'))
  return capsys.readouterr().out


def assert_as_uninterrupted(config, run: pathlib.Path, whole: pathlib.Path) -> None:
  assert_identical(state_of(config, run), state_of(config, whole))
  assert_identical(state_of(config, run, 'best'), state_of(config, whole, 'best'))
  assert rows_of(run) == rows_of(whole)
  left, right = (json.loads((at / 'summary.json').read_text()) for at in (run, whole))
  for name in ('best_epoch', 'best_val_loss', 'last_epoch', 'test_loss', 'steps'):
    assert left[name] == right[name]


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


@pytest.mark.parametrize('how', ['deleted', 'older', 'better by hand', 'German', 'UTF-16'])
def test_history_is_that_of_the_checkpoint(options, half, whole, capsys, how) -> None:
  path = half / 'metrics.csv'
  edit_csv(how, path)
  edited = path.read_bytes() if path.exists() else b''
  said = resumed(options, half, capsys)
  assert_as_uninterrupted(options, half, whole)
  rates = [float(row['learning_rate']) for row in rows_of(half)]
  # The first epoch improves on nothing; three later ones without a gain of 10 halve the rate.
  np.testing.assert_allclose(rates, [1e-3] * 4 + [5e-4] * 2, rtol=1e-6)
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


@pytest.mark.parametrize('content', ['', '[]', '{}', 'null', '5', '[' * 100_000, '{"steps": "x"}'])
def test_a_damaged_summary_is_written_again(options, whole, tmp_path, capsys, content) -> None:
  run = pathlib.Path(shutil.copytree(whole, tmp_path / 'run'))
  (run / 'summary.json').write_text(content)
  said = resumed(options, run, capsys)
  assert f'{run}/summary.json is damaged (' in said
  assert 'and is written again' in said
  assert_as_uninterrupted(options, run, whole)


def without_new_facts(run: pathlib.Path) -> None:
  """Makes the checkpoints what they were before they had a history, a config and checksums."""
  for path in run.glob('*/*/facts/metadata'):
    facts = json.loads(path.read_text())
    for name in ('history', 'config', 'arrays', 'checksum'):
      del facts[name]
    path.write_text(json.dumps(facts))
    (path.parents[1] / 'files.json').unlink()


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
    match=r'another config: batch_size was 32 and is now 16; optimizer\.learning_rate was',
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
  assert f'resuming after step {best} of 36' in said
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


def flip_a_weight(folder: pathlib.Path) -> None:
  """One bit in the middle of the largest file."""
  file = max((path for path in folder.rglob('*') if path.is_file()), key=lambda p: p.stat().st_size)
  content = bytearray(file.read_bytes())
  content[len(content) // 2] ^= 4
  file.write_bytes(content)


def test_every_command_takes_the_older_checkpoint_and_says_so(
  options, half, whole, capsys, warnings
) -> None:
  flip_a_weight(half / 'checkpoints' / '16')
  assert classifier.load(half).step == 12
  assert evaluate(half)['step'] == 12
  said = resumed(options, half, capsys)
  assert 'resuming after step 12 of 36' in said
  lines = [line for line in warnings if 'cannot be read' in line]
  assert len(lines) == 3
  for line in lines:
    assert 'checkpoint of step 16 (' in line
    assert line.endswith(f'in {half} cannot be read; that of step 12 is used in its place')
  assert_as_uninterrupted(options, half, whole)


def test_init_from_checks_the_best_too(options, half, tmp_path) -> None:
  flip_a_weight(next((half / 'best').iterdir()))
  with pytest.raises(
    UserError, match=r'no checkpoint in .* can be read, .*other checkpoints of it'
  ):
    loop.train(changed(options, init_from=str(half)), tmp_path / 'from', SILENT)


@pytest.mark.parametrize('what', ['folder', 'content', 'metrics', 'checkpoints'])
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


def test_facts_of_a_checkpoint_are_checked_too(half) -> None:
  """A number among them decides as much as a weight does."""
  path = half / 'checkpoints' / '16' / 'facts' / 'metadata'
  facts = json.loads(path.read_text())
  facts['history'][1][4] += 1e-9
  path.write_text(json.dumps(facts))
  with checkpoint.Checkpoints(half, read_only=True) as checkpoints:
    assert checkpoints.restore_variables()[1] == 12


DAMAGED = {
  'empty': b'',
  'a list': b'[]',
  'null': b'null',
  'a number': b'5',
  'not UTF-8': b'\xff\xfe\x00{}',
  'NULs': bytes(200),
  'deep': b'[' * 100_000,
  'a huge number': b'{"seed": ' + b'9' * 5000 + b'}',
}
FOLDER = None


@pytest.mark.parametrize('name', ['config.json', 'about.json', 'summary.json'])
@pytest.mark.parametrize('content', [*DAMAGED.values(), FOLDER], ids=[*DAMAGED, 'a folder'])
def test_every_reader_of_json_says_what_is_damaged(tmp_path, name, content) -> None:
  if content is FOLDER:
    (tmp_path / name).mkdir()
  else:
    (tmp_path / name).write_bytes(content)
  read = {
    'config.json': configs.read,
    'about.json': run_files.read_about,
    'summary.json': run_files.read_summary,
  }[name]
  with pytest.raises(UserError) as error:
    read(tmp_path)
  assert str(error.value).startswith(f'{tmp_path / name} is damaged (')
  assert '\n' not in str(error.value)
  assert len(str(error.value)) < 500


@pytest.mark.parametrize(
  ('name', 'key', 'value'),
  [
    ('config.json', 'model', 3),
    ('config.json', 'data', [1]),
    ('config.json', 'evaluate', 3),
    ('config.json', 'batch_size', 0),
    ('about.json', 'class_names', ['one']),
    ('about.json', 'class_names', 'abcd'),
    ('about.json', 'image_shape', [8, 8]),
    ('about.json', 'image_shape', [16, 16, 3]),
    ('about.json', 'image_shape', None),
    ('about.json', 'image_shape', [10**9, 10**9, 3]),
  ],
)
def test_values_that_are_not_of_this_run(whole, tmp_path, name, key, value) -> None:
  run = pathlib.Path(shutil.copytree(whole, tmp_path / 'run'))
  content = json.loads((run / name).read_text())
  (run / name).write_text(json.dumps({**content, key: value}))
  with pytest.raises(UserError, match=name.replace('.', r'\.')) as error:
    classifier.load(run)
  assert '\n' not in str(error.value)


@pytest.mark.parametrize('name', ['config.json', 'about.json', 'summary.json'])
def test_compare_lists_the_others(whole, tmp_path, capsys, name) -> None:
  for run in ('good', 'bad'):
    shutil.copytree(whole, tmp_path / run)
  (tmp_path / 'bad' / name).write_text('[]')
  with pytest.raises(SystemExit) as end:
    commands.main(['compare', str(tmp_path), '--columns=run,state'])
  assert end.value.code == 1
  out, err = capsys.readouterr()
  assert [line.split() for line in out.splitlines()] == [['run', 'state'], ['good', 'finished']]
  assert err.startswith(f'left out: {tmp_path}/bad/{name} is damaged (')
  with pytest.raises(SystemExit) as end:
    commands.main(['compare', str(tmp_path / 'bad')])
  assert end.value.code == 2


def test_compare_takes_the_history_of_the_checkpoint(half, whole, capsys, warnings) -> None:
  (half / 'metrics.csv').write_text('a spreadsheet was here\n')
  assert run_files.shown_rows(half) == run_files.saved_rows(half)
  assert [row['step'] for row in run_files.shown_rows(half)] == [6, 12]
  assert f'{half}/metrics.csv cannot be read (' in warnings[-1]
  assert warnings[-1].endswith(': the history of the newest checkpoint is shown')
  commands.main(['compare', str(half), '--columns=run,state'])
  assert '2 of 6' in capsys.readouterr().out
