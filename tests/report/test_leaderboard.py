"""Runs side by side: which rows, in which order, in which forms."""

import csv
import dataclasses
import io
import json
import shutil
import time

import pytest
from ml_collections import ConfigDict

from cifar_jax import commands, data
from cifar_jax.data.identity import fingerprint
from cifar_jax.report import leaderboard
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer.loop import train
from cifar_jax.utils.errors import UserError
from tests.helpers import shown_runs


@pytest.fixture(scope='module')
def runs(tiny_run, tmp_path_factory):
  """A finished run, one with better validation that goes on, and one that has just begun."""
  folder = tmp_path_factory.mktemp('several')
  shutil.copytree(tiny_run, folder / 'finished')
  for name in ('going_on', 'begun'):
    (folder / name).mkdir()
    shutil.copy(tiny_run / 'config.json', folder / name)
  header, first, *_ = (tiny_run / 'metrics.csv').read_text().splitlines()
  row = dict(zip(header.split(','), first.split(','), strict=True)) | {'val_accuracy': '0.999'}
  row |= {'epoch_seconds': '0.001', 'train_accuracy': '0.5'}
  (folder / 'going_on' / 'metrics.csv').write_text(f'{header}\n{",".join(row.values())}\n')
  (folder / 'views').mkdir()
  return folder


def table(runs):
  return [leaderboard.describe(run) for run in leaderboard.find_runs([runs])]


def test_the_best_validation_comes_first_and_what_is_unknown_last(runs) -> None:
  rows = leaderboard.ordered(table(runs), 'val_accuracy')
  assert [row['run'] for row in rows] == ['going_on', 'finished', 'begun']
  assert [row['state'] for row in rows] == ['1 of 2', 'finished', '0 of 2']
  rows = leaderboard.ordered(table(runs), 'val_accuracy', ascending=True)
  assert [row['run'] for row in rows] == ['finished', 'going_on', 'begun']
  rows = leaderboard.ordered(table(runs), 'seconds')  # the shortest is the best
  assert rows[0]['run'] == 'going_on'


def test_a_finished_run_has_what_its_files_say(runs) -> None:
  summary = json.loads((runs / 'finished' / 'summary.json').read_text())
  row = leaderboard.describe(runs / 'finished')
  for name in ('val_accuracy', 'test_accuracy', 'val_loss', 'seconds', 'tags'):
    assert row[name] == summary[name]
  assert row['tags'] == 'small first'
  # Convolutions of 8 x 8 and 4 x 4 places with 3 x 3 windows, then 32 values to 4 classes.
  assert row['macs'] == 64 * 27 * 4 + 16 * 36 * 8 + 32 * 4
  assert row['parameters'] == 27 * 4 + 4 + 36 * 8 + 8 + 32 * 4 + 4


def test_forms(runs) -> None:
  rows = leaderboard.ordered(table(runs), 'val_accuracy')
  columns = ('run', 'val_accuracy', 'seconds', 'test_accuracy')
  text = leaderboard.as_text(rows, columns).splitlines()
  assert text[0].split() == ['run', 'val', 'accuracy', 'seconds', 'test', 'accuracy']
  assert text[1].split()[:3] == ['going_on', '99.90', '%']
  assert len(leaderboard.as_markdown(rows, columns).splitlines()) == 5
  (first, *_) = csv.DictReader(io.StringIO(leaderboard.as_csv(rows, columns)))
  assert (first['run'], first['val_accuracy'], first['test_accuracy']) == ('going_on', '0.999', '')
  assert json.loads(leaderboard.as_json(rows, columns))[0]['val_accuracy'] == 0.999
  several = {'val_map': 0.7312, 'val_map_sd': 0.02, 'val_map_low': 0.7, 'val_map_high': 0.76}
  cells = [leaderboard.text_of(several, name) for name in ('val_map', 'val_map_interval')]
  assert cells == ['73.12 ± 2.00 %', '70.00 to 76.00 %']


def write_seeds(tiny_run, folder, accuracies) -> None:
  """Finished runs that differ in the seed, with these accuracies."""
  for seed, accuracy in enumerate(accuracies):
    run = shutil.copytree(tiny_run, folder / f'seed_{seed}')
    for name, values in (
      ('config.json', {'seed': seed}),
      ('summary.json', {'seed': seed, 'val_accuracy': accuracy, 'test_accuracy': accuracy - 0.1}),
    ):
      content = json.loads((run / name).read_text())
      (run / name).write_text(json.dumps({**content, **values}))


def test_seeds_are_one_row_and_two_groups_are_tested(tiny_run, tmp_path, capsys) -> None:
  """Runs are found below folders of folders; what is tested stands below the table."""
  write_seeds(tiny_run, tmp_path / 'deep' / 'good_seeds', [0.81, 0.82, 0.84])
  write_seeds(tiny_run, tmp_path / 'deep' / 'bad_seeds', [0.71, 0.725, 0.735])
  (tmp_path / 'deep' / 'good_seeds' / 'seed_0' / 'inner').mkdir()
  shutil.copy(tiny_run / 'config.json', tmp_path / 'deep' / 'good_seeds' / 'seed_0' / 'inner')
  for run in (tmp_path / 'deep' / 'bad_seeds').iterdir():
    content = json.loads((run / 'config.json').read_text())
    content['optimizer']['learning_rate'] = 0.5
    (run / 'config.json').write_text(json.dumps(content))
  commands.main(['compare', str(tmp_path), '--columns=run,n,val_accuracy,val_accuracy_interval'])
  assert capsys.readouterr().out.splitlines() == [
    'run         n    val accuracy  val accuracy interval',
    'good_seeds  3  82.33 ± 1.53 %       78.54 to 86.13 %',
    'bad_seeds   3  72.33 ± 1.26 %       69.21 to 75.46 %',
  ]
  folders = [str(tmp_path / 'deep' / name) for name in ('bad_seeds', 'good_seeds')]
  commands.main(['compare', *folders, '--each', '--columns=run,n,seeds,val_accuracy'])
  out = capsys.readouterr().out
  table, tests = out.split('\n\n')
  assert [line.split()[0] for line in table.splitlines()] == [
    *('run', 'good_seeds', *(f'good_seeds/seed_{seed}' for seed in range(3))),
    *('bad_seeds', *(f'bad_seeds/seed_{seed}' for seed in range(3))),
  ]
  assert tests.startswith('good_seeds less bad_seeds, val accuracy: +10.00 points, 95 % interval')
  assert 'good_seeds is better than bad_seeds' in tests
  commands.main(['compare', *folders, '--column=test_accuracy', '--difference=2'])
  tests = capsys.readouterr().out.split('\n\n')[1]
  assert 'a true difference of 2.00 points' in tests
  assert 'this was a look at the test set' in tests
  commands.main(['compare', folders[1], '--format=json', '--columns=run,val_accuracy'])
  (row,) = json.loads(capsys.readouterr().out)
  assert row['val_accuracy'] == pytest.approx(0.82333333)
  assert row['val_accuracy_sd'] == pytest.approx(0.01527525)
  summary = tmp_path / 'deep' / 'good_seeds' / 'seed_0' / 'summary.json'
  content = json.loads(summary.read_text())
  del content['test_accuracy'], content['test_loss']
  content['test_opened'] = False
  summary.write_text(json.dumps(content))
  commands.main(['compare', folders[1], '--columns=n,val_accuracy,test_accuracy'])
  assert capsys.readouterr().out.split('\n')[1] == '3  82.33 ± 1.53 %  73.00 ± 1.41 % (n 2)'
  commands.main(['compare', folders[1], '--format=csv', '--columns=n,test_accuracy'])
  assert capsys.readouterr().out.startswith('n,test_accuracy,test_accuracy_n,test_accuracy_sd,')
  for wrong in ('--column=seed', '--difference=0', '--difference=nan'):
    with pytest.raises(SystemExit):
      commands.main(['compare', *folders, wrong])
    assert wrong.partition('=')[0] in capsys.readouterr().err


def test_unknown_column_and_foreign_folder(runs) -> None:
  with pytest.raises(UserError, match='did you mean'):
    leaderboard.ordered([], 'val_acuracy')
  with pytest.raises(UserError, match='holds none'):
    leaderboard.find_runs([runs / 'views'])
  with pytest.raises(UserError, match='does not exist'):
    leaderboard.find_runs([runs / 'nowhere'])
  with pytest.raises(UserError, match='does not exist'):
    leaderboard.find_runs([runs / ('x' * 300)])


def test_what_cannot_be_looked_into_hides_no_run(tmp_path) -> None:
  run = shown_runs.write_run(tmp_path / 'a', 1)
  (tmp_path / 'long').symlink_to('x' * 300)
  assert leaderboard.find_runs([tmp_path]) == [run]


def test_a_run_to_which_links_lead_is_one(tmp_path) -> None:
  run = shown_runs.write_run(tmp_path / 'runs' / 'r1', 1)
  (tmp_path / 'runs' / 'latest').symlink_to('r1')
  (tmp_path / 'runs' / 'again').symlink_to(tmp_path / 'runs')
  assert leaderboard.find_runs([tmp_path / 'runs']) == [run]
  assert leaderboard.find_runs([tmp_path / 'runs' / 'latest', run]) == [run]
  assert leaderboard.find_runs([tmp_path / 'runs' / 'latest']) == [tmp_path / 'runs' / 'latest']


def test_no_two_runs_have_the_same_name(tmp_path) -> None:
  """As the trials of two studies, of which names say the end."""
  runs = [
    'a_study/trials/00004/seed_0',
    'b_study/trials/00004/seed_0',
    'b_study/trials/00005/seed_0',
  ]
  rows = [{'folder': tmp_path / run, 'run': run.partition('trials/')[2]} for run in runs]
  assert [row['run'] for row in leaderboard.named_apart(rows)] == [runs[0], runs[1], '00005/seed_0']
  twice = leaderboard.named_apart([rows[0], rows[0]])
  assert [row['run'] for row in twice] == [(tmp_path / runs[0]).resolve().as_posix()] * 2


@pytest.mark.parametrize('seconds', ['nan', 'inf', '-1', '1e300'])
def test_a_watch_without_end_is_refused(runs, seconds, capsys) -> None:
  with pytest.raises(SystemExit) as end:
    commands.main(['compare', str(runs), f'--watch={seconds}'])
  assert end.value.code == 2
  assert 'give a number of seconds, at most' in capsys.readouterr().err


def test_watching_shows_what_changes(runs, capsys, monkeypatch) -> None:
  """The table comes again after a run wrote a row, and not while nothing happens."""
  sleeps, really_sleep = [], time.sleep

  def sleep(seconds: float) -> None:
    if seconds != 3:  # of another part, which waits for a process
      return really_sleep(seconds)
    sleeps.append(seconds)
    if len(sleeps) == 2:
      text = (runs / 'going_on' / 'metrics.csv').read_text()
      (runs / 'begun' / 'metrics.csv').write_text(text)
    if len(sleeps) == 4:
      raise KeyboardInterrupt
    return None

  monkeypatch.setattr('time.sleep', sleep)
  with pytest.raises(SystemExit) as end:
    commands.main(['compare', str(runs), '--watch=3', '--columns=run,state'])
  (runs / 'begun' / 'metrics.csv').unlink()
  assert end.value.code == 130
  assert sleeps == [3, 3, 3, 3]
  out = capsys.readouterr().out
  assert out.count('finished') == 4  # the name and the state of that run, in two tables
  assert out.index('0 of 2') < out.rindex('1 of 2')


def test_runs_on_different_data_do_not_mix() -> None:
  """By name, by the number of images, and where these agree by a checksum."""
  sizes = {'train_examples': 40000, 'validation_examples': 10000, 'test_examples': 10000}
  fewer = {**sizes, 'train_examples': 4000, 'validation_examples': 1000}
  rows = leaderboard.told_apart(
    [
      {'run': 'a', 'data': 'cifar10', 'val_accuracy': 0.7, **sizes, 'data_fingerprint': '12345678'},
      {'run': 'b', 'data': 'fashion_mnist', 'val_accuracy': 0.9, **sizes},
      {'run': 'c', 'data': 'cifar10', 'val_accuracy': 0.8, **sizes, 'data_fingerprint': 'ffffffff'},
      {'run': 'd', 'data': 'cifar10', 'val_accuracy': 0.6, **fewer},
      {'run': 'e', 'data': 'cifar10', 'val_accuracy': 0.5},
      # The same images, of which others are held out, or none.
      {
        **{'run': 'f', 'data': 'cifar10', 'val_accuracy': 0.75, 'data_fingerprint': '12345678'},
        **{**sizes, 'train_examples': 45000, 'validation_examples': 5000},
      },
      {
        **{'run': 'g', 'data': 'cifar10', 'val_accuracy': 0.4, 'data_fingerprint': '12345678'},
        **{**sizes, 'train_examples': 50000, 'split_note': 'test used as validation'},
      },
    ]
  )
  rows = leaderboard.ordered(rows, 'val_accuracy')
  assert [(row['run'], row['data']) for row in rows] == [
    ('d', 'cifar10 (5,000 + 10,000)'),
    ('f', 'cifar10 (50,000 + 10,000) (1234)'),
    ('a', 'cifar10 (50,000 + 10,000) (1234)'),
    ('g', 'cifar10 (50,000 + 10,000) (1234)'),
    ('c', 'cifar10 (50,000 + 10,000) (ffff)'),
    ('e', 'cifar10 (not known)'),
    ('b', 'fashion_mnist'),
  ]
  text = leaderboard.as_text(rows, ('run', 'data')).splitlines()
  assert [line.split()[0] if line else '' for line in text] == [
    *('run', 'd', '', 'f', 'a', 'g', '', 'c', '', 'e', '', 'b')
  ]


def test_runs_on_one_data_set_show_its_name_alone(runs) -> None:
  rows = leaderboard.told_apart(table(runs))
  assert {row['data'] for row in rows} == {'tiny'}
  assert '' not in leaderboard.as_text(rows, leaderboard.DEFAULT_COLUMNS).splitlines()


def test_a_fingerprint_is_that_of_the_data_and_not_of_the_seed(tiny_config) -> None:
  loaded = data.load(tiny_config.data)
  one = data.split(loaded, '20', 'random', 0)
  assert fingerprint(one) == fingerprint(data.split(loaded, '50', 'random', 1))
  assert fingerprint(one) == fingerprint(data.split(loaded, 'test', 'random', 0))
  found = {fingerprint(one)}
  for change in (
    {'train': loaded.train.take(slice(1, None))},
    {'test': loaded.test.take(slice(None, None, -1))},
    {'test': dataclasses.replace(loaded.test, images=255 - loaded.test.images)},
    {'class_names': tuple('wxyz')},
  ):
    found.add(fingerprint(data.split(dataclasses.replace(loaded, **change), '20', 'random', 0)))
  assert len(found) == 5


@pytest.mark.thorough
def test_left_out_images_do_not_make_other_data(tiny_config, tmp_path) -> None:
  """Of 21 validation images in batches of 16 a run is measured on 16; the data have 21."""
  config = ConfigDict(tiny_config.copy_and_resolve_references())
  config.update_from_flattened_dict(
    {'max_steps': 1, 'batch_size': 16, 'data.validation': '21', 'model.block': ('conv3 same',)}
  )
  for drop in (False, True):
    config.evaluate.drop_remainder = drop
    train(
      config.copy_and_resolve_references().lock(),
      tmp_path / ('drop' if drop else 'keep'),
      Progress('silent'),
    )
  rows = [leaderboard.describe(tmp_path / name) for name in ('keep', 'drop')]
  (tmp_path / 'drop' / 'summary.json').unlink()  # a run that goes on
  rows.append(leaderboard.describe(tmp_path / 'drop'))
  assert [row['validation_examples'] for row in rows] == [21, 21, 21]
  assert {row['train_examples'] for row in rows} == {200 - 21}
  assert len({row['data_fingerprint'] for row in rows}) == 1
  assert {row['data'] for row in leaderboard.told_apart(rows)} == {'tiny'}


@pytest.mark.parametrize(('validation', 'tests'), [('21', 90), ('21', 0), ('test', 90)])
def test_a_fingerprint_is_that_of_all_images(tiny_config, validation, tests) -> None:
  loaded = data.load(tiny_config.data)
  loaded = dataclasses.replace(loaded, test=loaded.test.take(slice(tests)))
  config = ConfigDict({'batch_size': 16, 'evaluate': {'drop_remainder': True}})
  whole = data.split(loaded, validation, 'random', 0)
  cut = data.limit_validation_batches(whole, config)
  assert len(cut.validation) == (16 if validation == '21' else 80)
  assert fingerprint(cut) == fingerprint(whole)
  # Numbered otherwise before or after, they are the same data again.
  names = ('z', *whole.class_names)
  assert fingerprint(data.renumbered(cut, names)) == fingerprint(data.renumbered(whole, names))


def test_tags_do_not_contradict_the_data(tiny_config) -> None:
  """configs/cnn_adv.py has the tag cifar10, also with --config.data.name=fashion_mnist."""
  with tiny_config.unlocked():
    tiny_config.tags = ('cifar10', 'cnn', 'mine')
    tiny_config.data.name = 'fashion_mnist'
  assert leaderboard.tags(tiny_config) == ['cnn', 'mine']
  with tiny_config.unlocked():
    tiny_config.data.name = 'cifar10'
  assert leaderboard.tags(tiny_config) == ['cifar10', 'cnn', 'mine']
