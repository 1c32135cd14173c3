"""What the queue of runs holds, in which order, and what of it counts as done."""

import os
import re
import shutil
import subprocess

import pytest

from benchmarks import tables
from benchmarks.results import queue
from benchmarks.results.queued import children, items
from cifar_jax import config as configs
from cifar_jax.utils.errors import UserError
from tests.helpers import REPOSITORY
from tests.helpers.fake_launch import WAITS, go, item, kept, started

pytestmark = pytest.mark.skipif(os.name == 'nt', reason='SIGTERM ends a process at once there')


def test_the_highest_value_per_minute_comes_first(here) -> None:
  queued = [
    item('cheap', value=3, minutes=2, seeds=[1, 0]),
    item('dear', value=10, minutes=10),
    item('best', value=2, minutes=0.5),
    item('elsewhere', hardware='gpu', value=100),
    item('as_cheap', hardware='cpu', value=6, minutes=4),
  ]
  go(here, queued)
  assert started(here) == [
    'best_seed0',
    'cheap_seed1',
    'cheap_seed0',
    'as_cheap_seed0',
    'dear_seed0',
  ]
  assert kept(here) == sorted(started(here))
  row = tables.read(here / 'results' / 'runs.csv')[0]
  assert (row['test_accuracy'], row['epochs'], row['command']) == (
    '0.5',
    '3',
    'launch.py --config=configs/lr.py --config.seed=0',
  )
  assert (here / 'results' / 'curves' / 'dear_seed0.csv').exists()
  assert row['commit'] == 'abc1234'
  log = (here / 'runs' / row['run']).with_suffix('.log').read_text()
  assert re.match(r'20.* commit abc1234: .* --config=configs/lr.py --workdir=', log)


def test_nothing_is_trained_twice(here, capsys) -> None:
  """Neither what has a summary, nor what has a row."""
  queued = [item('one', seeds=[0, 1])]
  go(here, queued, '--only=one')
  go(here, queued)
  assert started(here) == ['one_seed0', 'one_seed1']

  (here / 'results' / 'runs.csv').unlink()  # the folders are there: the rows come back
  capsys.readouterr()
  go(here, queued, '--list')
  assert '2 of 2 done' in capsys.readouterr().out
  go(here, queued)
  assert kept(here) == started(here) == ['one_seed0', 'one_seed1']

  (here / 'runs').rename(here / 'moved')  # the rows are there: nothing is trained
  go(here, [*queued, item('two')])
  assert started(here) == ['two_seed0']
  capsys.readouterr()
  go(here, [*queued, item('three', seeds=[0, 1, 2], minutes=20)], '--list')
  one, three, total = capsys.readouterr().out.splitlines()
  assert '2 of 2 done' in one
  assert '60.0 min  0 of 3 done' in three
  assert total.startswith('1.0 h')
  assert started(here) == ['two_seed0']


def test_a_damaged_summary_is_made_again(here, capsys) -> None:
  go(here, [item('one')])
  (here / 'results' / 'runs.csv').unlink()
  (here / 'runs' / 'one_seed0' / 'summary.json').write_text('{')
  go(here, [item('one')])
  assert 'one_seed0 failed: ' in capsys.readouterr().out
  assert started(here) == ['one_seed0'] * 2
  assert kept(here) == ['one_seed0']


def test_rows_of_the_record_count_too(here) -> None:
  """Photographs are told apart by config, options and seed, whatever their run is called."""
  options = ['--config.data.dir=/nowhere']
  photographs = item('cats', config='efficientnet_bottleneck', overrides=options, seeds=[2, 3])
  go(here, [photographs])
  assert started(here) == ['cats_seed3']
  (row,) = tables.read(here / 'results' / 'photographs.csv')
  assert (row['config'], row['options'], row['seed']) == ('efficientnet_bottleneck', '', '3')
  assert kept(here) == []


def test_a_row_has_the_commits_of_all_sessions(here, monkeypatch) -> None:
  queued = [item('long', seeds=[WAITS])]
  go(here, queued, '--minutes=0.02')
  monkeypatch.setattr(children, 'commit', lambda: 'def5678-dirty')
  go(here, queued)
  (row,) = tables.read(here / 'results' / 'runs.csv')
  assert row['commit'] == 'abc1234, then def5678-dirty'


@pytest.mark.skipif(not shutil.which('git'), reason='needs git')
def test_the_commit_is_that_of_git_or_of_the_environment(tmp_path, monkeypatch) -> None:
  def git(*words: str) -> str:
    person = ['-c', 'user.name=a', '-c', 'user.email=a']
    return subprocess.check_output(['git', *person, *words], cwd=tmp_path, text=True).strip()

  def commit() -> str:
    children.commit.cache_clear()
    return children.commit()

  monkeypatch.delenv('CIFAR_JAX_COMMIT', raising=False)
  monkeypatch.setattr(tables, 'RESULTS', tmp_path / 'results')
  file = tmp_path / 'file'
  file.touch()
  git('init', '--quiet')
  git('add', '.')
  git('commit', '--quiet', '--message=one')
  name = git('rev-parse', '--short', 'HEAD')
  assert commit() == name
  file.write_text('changed')
  assert commit() == f'{name}-dirty'
  monkeypatch.setattr(tables, 'RESULTS', tmp_path / 'copy' / 'results')  # its commit is another's
  assert commit() == 'unknown'
  monkeypatch.setenv('CIFAR_JAX_COMMIT', 'abc')
  assert commit() == 'abc'
  children.commit.cache_clear()


def test_names_are_taken_for_any_hardware(here) -> None:
  (here / 'queue.toml').write_text(item('gpu', hardware='gpu') + item('cpu', hardware='cpu'))
  both = items.read(here / 'queue.toml')
  assert [found.name for found in items.chosen(both, None, 'gpu')] == ['gpu']
  assert [found.name for found in items.chosen(both, 'cpu', None)] == ['cpu']
  assert items.chosen(both, 'cpu', 'gpu') == []


def test_a_run_that_fits_into_the_time_goes_first() -> None:
  long, short = (
    items.Run(items.Item(str(minutes), 'lr', (), (0,), 'any', minutes, 1, ''), 0)
    for minutes in (9, 3)
  )
  both = [long, short]
  assert [queue.next_run(both, minutes, alone=True) for minutes in (10, 5, 2)] == [
    long,
    short,
    long,
  ]
  assert queue.next_run(both, 5, alone=False) == short
  assert queue.next_run(both, 2, alone=False) is None
  assert queue.next_run([], 2, alone=True) is None


@pytest.mark.parametrize(
  ('content', 'sentence'),
  [
    ('[lr', 'queue.toml cannot be read'),
    ("[one]\nconfig = 'lr'", r'\[one\] must have config, hardware, minutes'),
    (item('one', hardware='tpu'), r"\[one\] needs hardware 'cpu', 'gpu' or 'any'"),
    (item('one', seeds=[]), r'\[one\] needs .* seeds'),
  ],
)
def test_a_mistake_in_the_file_is_one_sentence(tmp_path, content, sentence) -> None:
  (tmp_path / 'queue.toml').write_text(content)
  with pytest.raises(UserError, match=sentence):
    items.read(tmp_path / 'queue.toml')


def test_a_mistake_is_said_before_anything_starts(here, capsys) -> None:
  for words in (['--only=one,tow'], ['--config.epoch=3']):
    with pytest.raises(SystemExit) as end:
      go(here, [item('one'), item('two')], *words)
    assert end.value.code == 2
  first, second = capsys.readouterr().err.splitlines()
  assert first == "error: --only: there is no item 'tow'; did you mean 'two'?"
  assert 'epoch' in second
  assert not (here / 'runs').exists()


ITEMS = {found.name: found for found in items.read(queue.QUEUE)}


@pytest.mark.parametrize('name', ITEMS)
def test_every_item_is_a_config_with_its_overrides(name) -> None:
  found = ITEMS[name]
  config = configs.load(str(REPOSITORY / 'configs' / f'{found.config}.py'), found.overrides)
  configs.validate(config)
  for override in found.overrides:  # none of them changes nothing
    option = override.removeprefix('--config.').partition('=')[0]
    plain = configs.load(str(REPOSITORY / 'configs' / f'{found.config}.py'))
    assert dict(configs.flatten(config))[option] != dict(configs.flatten(plain))[option]
  assert len(set(found.seeds)) == len(found.seeds)
  assert found.minutes > 0
  assert found.value > 0
  assert found.why


def test_every_published_figure_without_a_full_run_is_in_the_queue() -> None:
  rows = tables.read(tables.RESULTS / 'reproduction.csv')
  figures = {(row['system'], int(row['epochs'])) for row in rows if not row['options']}
  full = {(row['system'], int(row['epochs'])) for row in rows if row['our_epochs'] == row['epochs']}
  found_there = set()
  for found in ITEMS.values():
    path = str(REPOSITORY / 'configs' / f'{found.config}.py')
    found_there.add((found.config, configs.load(path, found.overrides).epochs))
  assert figures
  assert figures - full <= found_there
