"""Files of a run that are damaged between two sessions: the same bits, or one sentence."""

import json
import pathlib
import shutil

import pytest

from cifar_jax import commands
from cifar_jax import config as configs
from cifar_jax.predict import classifier
from cifar_jax.predict.evaluate import evaluate
from cifar_jax.run_dir import checkpoint, run_files
from cifar_jax.trainer import loop
from cifar_jax.utils.errors import UserError
from tests.helpers.runs import SILENT, assert_as_uninterrupted, changed, resumed

pytestmark = pytest.mark.usefixtures('shared_trainers')


@pytest.mark.parametrize(
  'content',
  [
    *('', '{"steps": "x"}'),
    *(
      pytest.param(content, marks=pytest.mark.thorough)
      for content in ('[]', '{}', 'null', '5', '[' * 100_000)
    ),
  ],
)
def test_a_damaged_summary_is_written_again(options, whole, tmp_path, capsys, content) -> None:
  run = pathlib.Path(shutil.copytree(whole, tmp_path / 'run'))
  (run / 'summary.json').write_text(content)
  said = resumed(options, run, capsys)
  assert f'{run}/summary.json is damaged (' in said
  assert 'and is written again' in said
  assert_as_uninterrupted(options, run, whole)


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
  assert '2 of 5' in capsys.readouterr().out


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
  assert 'resuming after step 12 of 30' in said
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
