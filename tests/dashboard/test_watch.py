"""What the page is told, and when: only what changed, whatever happens to the folders."""

import json
import pathlib

import pytest

from cifar_jax import config as configs
from cifar_jax.dashboard import entries, watch
from cifar_jax.report import leaderboard
from cifar_jax.run_dir.lock import run_lock
from cifar_jax.trials import test_looks
from tests.helpers import shown_runs


@pytest.fixture(autouse=True)
def _looks_at_once(monkeypatch) -> None:
  monkeypatch.setattr(watch, '_EVERY_SECONDS', 0.0)


class Page:
  """Asks as the page does, and keeps what it was told."""

  def __init__(self, *folders: pathlib.Path):
    self.watch = watch.Watch(folders)
    self.version, self.runs, self.studies, self.last = '', {}, {}, {}

  def ask(self) -> set[str]:
    """The names of what changed or went."""
    told = self.last = json.loads(self.watch.changes(self.version))
    names = {entry['id']: entry['name'] for entry in (*self.runs.values(), *self.studies.values())}
    changed = {entry['name'] for entry in told['runs'] + told['studies']}
    changed |= {names[gone] for gone in told['gone']}
    if told['all']:
      self.runs, self.studies = {}, {}
    self.version = told['version']
    for kept, kind in ((self.runs, 'runs'), (self.studies, 'studies')):
      kept |= {entry['id']: entry for entry in told[kind]}
      for gone in told['gone']:
        kept.pop(gone, None)
    return changed

  def named(self, name: str) -> dict:
    (found,) = (e for e in (*self.runs.values(), *self.studies.values()) if e['name'] == name)
    return found


def test_only_what_changed_is_read_and_told(tmp_path, monkeypatch) -> None:
  for name, done in (('a', 3), ('b', 1), ('deep/c', 2)):
    shown_runs.write_run(tmp_path / name, done)
  read = []
  describe = entries.describe
  monkeypatch.setattr(
    entries, 'describe', lambda run, held: read.append(run) or describe(run, held)
  )
  page = Page(tmp_path)
  assert page.ask() == {'a', 'b', 'deep/c'}
  assert page.last['all']
  assert page.ask() == set()
  assert not page.last['all']
  shown_runs.add_row(tmp_path / 'b', 2, val_accuracy=0.75)
  read.clear()
  assert page.ask() == {'b'}
  assert read == [tmp_path / 'b']
  assert page.named('b')['curves']['val_accuracy'] == [0.4, 0.75]
  (tmp_path / 'deep' / 'c').rename(tmp_path / 'd')
  assert page.ask() == {'deep/c', 'd'}
  assert {run['name'] for run in page.runs.values()} == {'a', 'b', 'd'}
  assert page.ask() == set()
  assert page.last['gone'] == []
  # A page of before, or of another process, is told everything.
  assert json.loads(page.watch.changes('other.1'))['all']
  assert json.loads(page.watch.changes('x'))['all']


def test_a_run_that_went_and_came_back_is_there(tmp_path) -> None:
  """For a page that did not ask in between."""
  run = shown_runs.write_run(tmp_path / 'a', 1)
  page = Page(tmp_path)
  page.ask()
  run.rename(tmp_path / '.a')
  assert json.loads(page.watch.changes())['runs'] == []
  (tmp_path / '.a').rename(run)
  assert page.ask() == {'a'}
  assert page.last['gone'] == []
  assert [each['name'] for each in page.runs.values()] == ['a']


def test_many_pages_are_answered_by_one_look(tmp_path, monkeypatch) -> None:
  monkeypatch.setattr(watch, '_EVERY_SECONDS', 60.0)
  page = Page(tmp_path)
  page.ask()
  shown_runs.write_run(tmp_path / 'a', 1)
  assert page.ask() == set()
  monkeypatch.setattr(watch, '_EVERY_SECONDS', 0.0)
  assert page.ask() == {'a'}


def test_states(tmp_path) -> None:
  run = shown_runs.write_run(tmp_path / 'a', 1)
  page = Page(tmp_path)
  with run_lock(run):
    page.ask()
    assert page.named('a')['state'] == 'training'
    assert page.named('a')['total'] == 3
    assert page.named('a')['pace'] == 2.0
    assert page.ask() == set()
  assert page.ask() == {'a'}
  assert page.named('a')['state'] == 'stopped'
  shown_runs.write_run(tmp_path / 'b', 3)
  page.ask()
  assert page.named('b')['state'] == 'finished'
  assert page.named('b')['row']['test_accuracy'] == 0.5


def test_where_no_lock_can_be_asked_a_run_that_writes_trains(tmp_path, monkeypatch) -> None:
  monkeypatch.setattr(watch, 'locked_files', lambda: None)
  run = shown_runs.write_run(tmp_path / 'a', 1)
  slow = shown_runs.write_run(tmp_path / 'slow', 1)
  shown_runs.add_row(slow, 2, epoch_seconds=100.0)
  shown_runs.write_run(tmp_path / 'b', 3)
  (shown_runs.write_run(tmp_path / 'c', 1) / 'config.json').write_text('x')
  page = Page(tmp_path)
  page.ask()
  assert {name: page.named(name)['state'] for name in ('a', 'slow', 'b', 'c')} == {
    **{'a': 'training', 'slow': 'training', 'b': 'finished', 'c': 'damaged'}
  }
  now = entries.time.time()
  monkeypatch.setattr(entries.time, 'time', lambda: now + 200)
  assert page.ask() == {'a'}  # was killed; nothing in its folder changed
  assert page.named('a')['state'] == 'stopped'
  assert page.ask() == set()
  monkeypatch.setattr(entries.time, 'time', lambda: now)
  shown_runs.add_row(run, 2)  # goes on
  assert page.ask() == {'a'}
  assert page.named('a')['state'] == 'training'


def test_damage_is_said_and_mended(tmp_path) -> None:
  run = shown_runs.write_run(tmp_path / 'a', 2)
  shown_runs.write_run(tmp_path / 'b', 2)
  page = Page(tmp_path)
  page.ask()
  whole = (run / 'config.json').read_text()
  for content in (whole[:100], '[]', '', '{"format": 2, "data": 3}', '\0'):
    (run / 'config.json').write_text(content)
    assert page.ask() == {'a'}, content
    assert page.named('a')['state'] == 'damaged'
    assert 'config.json' in page.named('a')['problem']
  (run / 'config.json').write_text(whole)
  assert page.ask() == {'a'}
  assert page.named('a')['state'] == 'stopped'
  about = run / 'about.json'
  whole = about.read_text()
  for name in ('train_examples', 'data_fingerprint'):  # which runs are told apart by
    about.write_text(json.dumps({**json.loads(whole), name: [5]}))
    page.ask()
    assert f'{about} is damaged ({name} is ' in page.named('a')['problem']
  about.write_text(whole)
  # A line that is being written is none yet.
  with (run / 'metrics.csv').open('a') as file:
    file.write('18,3,0.1')
  page.ask()
  assert page.named('a')['curves']['epoch'] == [1, 2]


def test_folders_come_and_go(tmp_path) -> None:
  page = Page(tmp_path / 'runs', tmp_path / 'more')
  (tmp_path / 'more').mkdir()
  page.ask()
  assert page.last['missing'] == [str(tmp_path / 'runs')]
  shown_runs.write_run(tmp_path / 'runs' / 'a', 1)
  assert page.ask() == {'a'}
  assert page.last['missing'] == []
  (tmp_path / 'runs').rename(tmp_path / 'elsewhere')
  assert page.ask() == {'a'}
  assert page.runs == {}


def test_it_looks_as_deep_as_compare(tmp_path, monkeypatch) -> None:
  monkeypatch.setattr(leaderboard, 'DEPTH', 1)
  runs = [shown_runs.write_run(tmp_path / name, 1) for name in ('a', 'deep/b')]
  assert Page(tmp_path).ask() == {'a'}
  assert leaderboard.find_runs([tmp_path]) == runs[:1]


def test_links_that_lead_nowhere_end_no_page(tmp_path) -> None:
  shown_runs.write_run(tmp_path / 'runs' / 'a', 1)
  for name, target in (('loop', 'loop'), ('gone', 'nowhere'), ('long', 'x' * 300)):
    (tmp_path / 'runs' / name).symlink_to(target)
  page = Page(tmp_path / 'runs', tmp_path / 'runs' / 'long')
  assert page.ask() == {'a'}
  assert page.last['missing'] == [str(tmp_path / 'runs' / 'long')]


def test_a_run_to_which_links_lead_is_told_once(tmp_path) -> None:
  shown_runs.write_run(tmp_path / 'runs' / 'r1', 1)
  (tmp_path / 'runs' / 'latest').symlink_to('r1')
  (tmp_path / 'runs' / 'again').symlink_to(tmp_path / 'runs')
  page = Page(tmp_path / 'runs')
  assert page.ask() == {'r1'}


def test_versions_of_any_length_are_answered(tmp_path) -> None:
  shown_runs.write_run(tmp_path / 'a', 1)
  page = Page(tmp_path)
  page.ask()
  token = page.version.partition('.')[0]
  for number in ('9' * 18, '9' * 5000, '-1', '', '1e3', '٣'):
    assert json.loads(page.watch.changes(f'{token}.{number}'))['version'] == page.version


def test_a_folder_inside_another_is_looked_through_as_deep(tmp_path, monkeypatch) -> None:
  monkeypatch.setattr(leaderboard, 'DEPTH', 1)
  for name in ('a', 'deep/b'):
    shown_runs.write_run(tmp_path / name, 1)
  page = Page(tmp_path, tmp_path / 'deep', tmp_path)
  assert page.ask() == {'a', 'deep/b'}
  assert len(page.last['runs']) == 2


def test_runs_of_one_name_in_two_places_have_two(tmp_path) -> None:
  for place in ('x', 'y'):
    shown_runs.write_run(tmp_path / place / 'a', 1)
  page = Page(tmp_path / 'x', tmp_path / 'y')
  assert page.ask() == {(tmp_path / place / 'a').as_posix() for place in 'xy'}
  page = Page(tmp_path / 'x' / 'a')
  assert page.ask() == {'a'}


def test_a_study_and_its_runs(tmp_path) -> None:
  trial = {'number': 0, 'state': 'complete', 'seconds': 3.5, 'val_accuracy': 0.7, 'run': 't'}
  study = shown_runs.write_study(tmp_path / 's', [{**trial, 'param.rate': 0.01}])
  shown_runs.write_run(study / 'trials' / '00000' / 'seed_0', 3)
  shown_runs.write_run(tmp_path / 'alone', 3)
  page = Page(tmp_path)
  page.ask()
  found = page.named('s')
  assert found['columns'] == ['number', 'state', 'val_accuracy', 'param.rate', 'seconds', 'run']
  assert found['trials'] == [[0, 'complete', 0.7, 0.01, 3.5, 't']]
  assert page.named('s/trials/00000/seed_0')['study'] == found['id']
  assert page.named('alone')['study'] is None
  assert 'has not been looked at' in found['test_looks']
  assert page.named('alone')['row']['test_accuracy'] == 0.5
  closed = page.named('s/trials/00000/seed_0')['row']
  assert closed['test_examples'] == 90
  assert not {'test_accuracy', 'test_loss', 'test_map'} & closed.keys()
  noted = json.loads(watch.Watch([tmp_path], shows_test=True).changes())  # by `compare`
  assert [run['row']['test_accuracy'] for run in noted['runs']] == [0.5, 0.5]
  test_looks.record(study / 'trials' / '00000' / 'seed_0', 'evaluate')
  assert page.ask() == {'s'}
  assert 'looked at once: by evaluate of trials/00000/seed_0' in page.named('s')['test_looks']
  (study / 'trials.csv').write_text('number,state\n0,comp')
  assert page.ask() == {'s'}
  assert 'trials.csv' in page.named('s')['problem']
  assert page.named('s')['trials'] == []


def test_no_study_ends_the_page_of_the_others(tmp_path) -> None:
  """Whatever its files hold, the answer is JSON as browsers read it, and names what is wrong."""
  trial = {'number': 0, 'state': 'complete', 'val_accuracy': float('nan'), 'param.rate': 'inf'}
  study = shown_runs.write_study(tmp_path / 's', [trial])
  shown_runs.write_run(tmp_path / 'alone', 3)
  page = Page(tmp_path)

  def told() -> dict:
    changes = page.watch.changes()
    json.loads(changes, parse_constant=lambda name: pytest.fail(f'{name} is no JSON'))
    page.ask()
    assert page.named('alone')['state'] == 'finished'
    return page.named('s')

  found = told()
  assert found['columns'] == ['number', 'state', 'val_accuracy', 'param.rate']
  assert found['trials'] == [[0, 'complete', None, None]]
  assert 'problem' not in found
  for objectives in (5, {'a': 1}, [5, 'val_accuracy', [float('inf')]], float('nan')):
    about = {'kind': float('inf'), 'space': ['x'], 'objectives': objectives}
    (study / 'study.json').write_text(json.dumps(about))
    assert told()['kind'] is None
    assert page.named('s')['trials'] == found['trials']
  (study / 'study.json').write_text('[' * 100_000)
  assert 'study.json' in told()['problem']
  header, _ = (study / 'trials.csv').read_text().splitlines()
  (study / 'trials.csv').write_text(f'{header}\n0,complete,"{"x" * 140_000}')
  assert 'trials.csv is damaged (field larger than field limit' in told()['problem']


def test_an_entry(tmp_path) -> None:
  run = shown_runs.write_run(tmp_path / 'a', 2, seed=7, optimizer__learning_rate=0.125)
  shown_runs.add_row(run, 3, val_accuracy=float('nan'), val_loss=float('nan'), train_loss=1 / 3)
  found = entries.describe(run, False)
  assert found['options']['optimizer.learning_rate'] == 0.125
  assert 'seed' not in found['options']
  assert 'augment.mixup' not in found['options']  # as the defaults
  assert found['row']['seed'] == 7
  assert found['curves']['val_accuracy'][-1] is None
  assert found['curves']['train_loss'][-1] == 0.33333
  assert found['row']['val_accuracy'] == pytest.approx(0.6)  # of the last epoch that has one
  # 8 updates of 6 an epoch end in the second epoch.
  cut = shown_runs.write_run(tmp_path / 'b', 1, epochs=5, max_steps=8)
  assert entries.describe(cut, True)['total'] == 2


def test_images_are_shown_of_runs_that_keep_them(tmp_path) -> None:
  for name, every, tensorboard in (('a', 1, True), ('b', 1, False), ('c', 0, True)):
    options = {'evaluate__images_every_epochs': every, 'tensorboard': tensorboard}
    run = shown_runs.write_run(tmp_path / name, 1, **options)
    assert entries.describe(run, False)['images'] == (name == 'a')


def test_an_option_that_a_config_lacks_differs_from_the_default() -> None:
  config = configs.get_config()
  assert entries.changed_options(config) == {}
  with config.unlocked():
    del config.batch_size
  config.epochs += 1
  assert entries.changed_options(config) == {'batch_size': None, 'epochs': config.epochs}
