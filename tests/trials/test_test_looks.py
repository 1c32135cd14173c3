"""Each look at the test set of a study's runs is a line."""

import json
import re
import shutil
import types
from typing import Any

import pytest

from cifar_jax import commands
from cifar_jax.cards import facts, pack
from cifar_jax.trials import look_recorder, test_looks
from tests.helpers import shown_runs
from tests.helpers.python_process import run_python
from tests.helpers.runs import changed


@pytest.fixture
def trial(tiny_run, tmp_path):
  (tmp_path / 'study').mkdir()
  (tmp_path / 'study' / 'study.json').write_text('{}')
  return shutil.copytree(tiny_run, tmp_path / 'study' / 'trials' / '00003' / 'seed_0')


def test_the_commands_write_it_down(trial, tmp_path, tiny_run, capsys) -> None:
  study = tmp_path / 'study'
  assert test_looks.sentence(study) == 'the test set of this study has not been looked at'
  commands.main(['evaluate', str(trial), '--split=validation'])
  assert test_looks.read(study) == []
  commands.main(['evaluate', str(trial), '--split=test', '--checkpoint=best'])
  (look,) = test_looks.read(study)
  assert look[1:] == ('evaluate', 'trials/00003/seed_0', 'checkpoint best')
  assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00', look.when)
  commands.main(['evaluate', str(tiny_run)])  # of no study
  assert not (tiny_run.parent / test_looks.NAME).exists()
  with pytest.raises(SystemExit):
    commands.main(['evaluate', str(trial), '--split=test', '--checkpoint=77'])
  assert len(test_looks.read(study)) == 1  # nothing was seen
  capsys.readouterr()


@pytest.mark.parametrize(
  ('test', 'validation_is_test', 'interrupted', 'notes'),
  [
    (True, False, False, ['after step 9']),
    (True, False, True, []),
    (False, False, False, []),
    (True, True, True, ['validated on it from step 4 on']),
    (True, True, False, ['validated on it from step 4 on']),
  ],
)
def test_a_training_that_opens_it_is_a_look(
  tiny_config, tmp_path, test, validation_is_test, interrupted, notes
) -> None:
  study = shown_runs.write_study(tmp_path / 's', [])
  config = changed(tiny_config, **{'evaluate.test': test})
  session: Any = types.SimpleNamespace(
    folder=study / 'best',
    splits=types.SimpleNamespace(has_test=True, validation_is_test=validation_is_test),
    trainer=types.SimpleNamespace(config=config),
  )
  callback = look_recorder.LookRecorder('launch')
  callback.start(session, 4)
  callback.end(session, None, 9, interrupted)
  assert [look[1:] for look in test_looks.read(study)] == [('launch', 'best', n) for n in notes]


@pytest.mark.thorough
def test_both_commands_that_train_write_it_down(tmp_path, tiny_data, capsys) -> None:
  study = shown_runs.write_study(tmp_path / 's', [])
  words = (
    *('--config=configs/mlp.py', '--config.data.name=tiny', f'--config.data.dir={tiny_data}'),
    *('--config.max_steps=2', '--config.batch_size=60', '--config.data.validation=20'),
    *('--config.tensorboard=False', '--config.devices=1'),
  )
  for _ in range(2):  # when it has finished, nothing is measured again
    done = run_python('launch.py', *words, f'--workdir={study / "best"}')
    assert done.returncode == 0, done.stderr
  for together, runs in (('yes', 'seeds'), ('no', 'others')):
    place = f'--workdir={study / runs}'
    commands.main(['repeat', *words, place, '--seeds=2', f'--together={together}'])
  assert [look[1:] for look in test_looks.read(study)] == [
    ('launch', 'best', 'after step 2'),
    *(('repeat', f'seeds/seed_{seed}', 'after step 2') for seed in (0, 1)),
    *(('repeat', f'others/seed_{seed}', 'after step 2') for seed in (0, 1)),
  ]
  capsys.readouterr()


def test_an_entry_of_the_zoo_is_measured_on_it(tmp_path, monkeypatch, capsys) -> None:
  study = shown_runs.write_study(tmp_path / 's', [])
  result = {'accuracy': 0.5, 'loss': 1.0, 'examples': 9}
  weights = {'bytes': 9, 'largest_difference': 0.0, 'largest_difference_in': 'x'}
  monkeypatch.setattr(pack, 'pack', lambda *_: tmp_path)
  monkeypatch.setattr(facts, 'read', lambda _: {'results': [result], 'weights': weights})
  commands.main(['zoo', 'pack', str(study / 'best'), '--purpose=a test'])
  assert [look[1:] for look in test_looks.read(study)] == [
    ('zoo pack', 'best', 'checkpoint latest')
  ]
  assert 'test accuracy 50.00 %' in capsys.readouterr().out


def test_compare_is_a_look_where_it_shows_the_test_numbers_of_a_study(tmp_path, capsys) -> None:
  """With one folder or several, the study's or around it; by columns, by order, in a test."""
  study = shown_runs.write_study(tmp_path / 'runs' / 's', [])
  trial = shown_runs.write_run(study / 'trials' / '00003' / 'seed_0', 3)
  summary = json.loads((trial / 'summary.json').read_text())
  del summary['test_accuracy'], summary['test_loss']
  (trial / 'summary.json').write_text(json.dumps({**summary, 'test_opened': False}))
  other = shown_runs.write_run(tmp_path / 'other' / 'one', 3, batch_size=9)

  def looks(*words: str) -> list[tuple[str, str]]:
    before = len(test_looks.read(study))
    commands.main(['compare', *words])
    return [(look.run, look.note) for look in test_looks.read(study)[before:]]

  assert looks(str(study)) == []  # trials have no such numbers
  assert looks(str(study), str(other), '--column=test_accuracy') == []
  for seed in (1, 2):
    shown_runs.write_run(study / 'final' / 'best' / f'seed_{seed}', 3, seed=seed)
  capsys.readouterr()
  assert looks(str(study), '--columns=run,n,val_accuracy') == []
  out = capsys.readouterr().out
  assert [line.split()[:2] for line in out.splitlines()[1:]] == [
    ['best', '2'],
    ['00003/seed_0', '1'],
  ]
  assert looks(str(study)) == [('final/best', 'test_accuracy')]
  assert looks(str(tmp_path / 'runs'), '--columns=run', '--sort=test_loss') == [
    ('final/best', 'test_loss')
  ]
  pair = (str(tmp_path / 'other'), str(tmp_path / 'runs'), '--columns=run')
  assert looks(*pair, '--column=test_accuracy') == [('final/best', 'test_accuracy')]
  assert looks(*pair) == []
  assert looks(str(other)) == []


def test_what_it_says(tmp_path) -> None:
  (tmp_path / 'study.json').write_text('{}')
  folder = tmp_path / 'final'
  folder.mkdir()
  test_looks.record(folder, 'final', 'seeds 1-5, with "quotes", and commas')
  with (tmp_path / test_looks.NAME).open('a') as file:
    file.write('2026-11-27T22:10:05+00:00,evaluate,tri')  # a power failure
  test_looks.record(folder / 'best' / 'seed_1', 'report')
  looks = test_looks.read(tmp_path)
  assert [look.by for look in looks] == ['final', 'evaluate', 'report']
  assert looks[0].note == 'seeds 1-5, with "quotes", and commas'
  text = test_looks.sentence(tmp_path)
  assert 'was looked at 3 times: first by final on ' in text
  assert 'last by report of final/best/seed_1 on ' in text


def test_a_table_that_cannot_be_read(tmp_path) -> None:
  (tmp_path / test_looks.NAME).write_bytes(b'\xff\xfe\xff')
  with pytest.raises(test_looks.UserError, match=r'test_looks\.csv cannot be read'):
    test_looks.read(tmp_path)
