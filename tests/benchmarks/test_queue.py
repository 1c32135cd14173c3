"""The queue of runs, with a launch.py that only leaves what a run leaves."""

import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from benchmarks import command_line, tables
from benchmarks.results import queue
from benchmarks.results.queued import children, items
from cifar_jax import config as configs
from cifar_jax.utils.errors import UserError
from tests.helpers import REPOSITORY

pytestmark = pytest.mark.skipif(os.name == 'nt', reason='SIGTERM ends a process at once there')
# Seeds that do something else than to finish.
FAILS, WAITS, STUBBORN, MEETS = 66, 77, 88, 100
LAUNCH = f"""
import json, os, pathlib, signal, sys, time
words = dict(word.split('=', 1) for word in sys.argv[1:])
run, seed = pathlib.Path(words['--workdir']), int(words['--config.seed'])
run.mkdir(exist_ok=True)
fraction = os.environ.get('XLA_CLIENT_MEM_FRACTION', '')
with (run.parent / 'started').open('a') as file:
  file.write(f'{{run.name}} {{fraction}}\\n')
if seed == {FAILS}:
  sys.exit('error: there are no data\\n  looked for in /nowhere')
def note(sign):
  with (run.parent / 'events').open('a') as file:
    file.write(f'{{sign}}\\n')
note(1)
others = run.parent / 'others'
if seed >= {MEETS}:
  others.mkdir(exist_ok=True)
  (others / run.name).touch()
  end = time.monotonic() + 60
  while len(list(others.iterdir())) < 2:
    assert time.monotonic() < end
    time.sleep(0.01)
saved = run / 'saved'
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
(run / 'metrics.csv').write_text('step,epoch,val_accuracy\\n9,3,0.5\\n')
if seed == {STUBBORN} or seed == {WAITS} and not saved.exists():
  (run / 'ready').write_text(str(os.getpid()))
  while not asked or seed == {STUBBORN}:
    time.sleep(0.01)
  saved.touch()
  sys.exit()
time.sleep(0.05)
note(-1)
summary = dict(test_loss=1.0, test_accuracy=0.5, split_note='', epochs=9, max_steps=0, steps=9,
  seconds=60.0, images_per_second=None, seed=seed, val_accuracy=0.75,
  command=' '.join(['launch.py', *sys.argv[1:]]))
(run / 'summary.json').write_text(json.dumps(summary))
"""
ITEM = """
[{name}]
config = '{config}'
overrides = {overrides}
seeds = {seeds}
hardware = '{hardware}'
minutes = {minutes}
value = {value}
why = '37 %'
"""


def item(name: str, **values) -> str:
  usual = {'config': 'lr', 'overrides': [], 'seeds': [0], 'hardware': 'any', 'minutes': 1}
  return ITEM.format(**{'name': name, 'value': 1, **usual, **values})


@pytest.fixture
def here(tmp_path, monkeypatch) -> pathlib.Path:
  """A folder in which the launch.py above is used, and no run is finished."""
  (tmp_path / 'launch.py').write_text(LAUNCH)
  monkeypatch.setattr(children, 'LAUNCHER', (sys.executable, str(tmp_path / 'launch.py')))
  monkeypatch.setattr(queue, 'QUEUE', tmp_path / 'queue.toml')
  for name in children._FRACTIONS:
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setattr(children, 'commit', lambda: 'abc1234')
  return tmp_path


def go(here: pathlib.Path, queued: list[str], *words: str) -> None:
  """Calls the command with a queue of these items, on a machine without a GPU."""
  (here / 'queue.toml').write_text(''.join(queued))
  places = [f'--runs={here}/runs', f'--results={here}/results']
  command_line.main(['queue', '--hardware=cpu', *places, *words])


def started(here: pathlib.Path) -> list[str]:
  """The names of the runs that were started, in order."""
  path = here / 'runs' / 'started'
  return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def kept(here: pathlib.Path) -> list[str]:
  return [row['run'] for row in tables.read(here / 'results' / 'runs.csv')]


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


def test_a_run_that_fails_is_named_and_the_next_item_begins(here, capsys) -> None:
  queued = [item('bad', seeds=[FAILS, 1]), item('good')]
  with pytest.raises(SystemExit) as end:
    go(here, queued)
  assert end.value.code == 1
  assert started(here) == [f'bad_seed{FAILS}', 'good_seed0']
  assert kept(here) == ['good_seed0']
  (line,) = [line for line in capsys.readouterr().out.splitlines() if 'failed' in line]
  log = here / 'runs' / f'bad_seed{FAILS}.log'
  assert f'bad_seed{FAILS} failed with status 1: error: there are no data ({log})' in line


def test_what_runs_stops_after_the_minutes_and_is_resumed(here, capsys) -> None:
  queued = [item('long', seeds=[WAITS, 1])]
  go(here, queued, '--minutes=0.02')
  run = here / 'runs' / f'long_seed{WAITS}'
  assert (run / 'saved').exists()
  assert started(here) == [run.name]  # and no other one was begun
  assert f'{run.name} stopped after epoch 3' in capsys.readouterr().out
  go(here, queued, '--list')
  assert f'0 of 2 done, seed {WAITS} after epoch 3' in capsys.readouterr().out
  go(here, queued)
  assert started(here) == [run.name, run.name, 'long_seed1']
  assert kept(here) == ['long_seed1', run.name]


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


def test_a_signal_is_passed_on(here) -> None:
  ready = here / 'runs' / f'long_seed{WAITS}' / 'ready'

  def interrupt() -> None:
    end = time.monotonic() + 60
    while not ready.exists() and time.monotonic() < end:
      time.sleep(0.01)
    if ready.exists():  # else nobody waits for a signal
      os.kill(os.getpid(), signal.SIGTERM)

  before = signal.getsignal(signal.SIGTERM)
  thread = threading.Thread(target=interrupt)
  thread.start()
  try:
    go(here, [item('long', seeds=[WAITS, 1])])
  finally:
    thread.join()
  assert (ready.parent / 'saved').exists()
  assert started(here) == [ready.parent.name]
  assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.thorough
def test_a_second_signal_ends_all_at_once(here) -> None:
  (here / 'queue.toml').write_text(item('long', seeds=[STUBBORN]))
  code = f"""
import pathlib, sys
from benchmarks import command_line
from benchmarks.results import queue
from benchmarks.results.queued import children
children.LAUNCHER = (sys.executable, {str(here / 'launch.py')!r})
queue.QUEUE = pathlib.Path({str(here / 'queue.toml')!r})
command_line.main(['queue', '--hardware=cpu', '--runs={here}/runs', '--results={here}/results'])
"""
  child = subprocess.Popen(
    [sys.executable, '-c', code], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True
  )
  ready = here / 'runs' / f'long_seed{STUBBORN}' / 'ready'
  while not ready.exists():
    assert child.poll() is None
    time.sleep(0.05)
  child.send_signal(signal.SIGTERM)
  assert child.stderr is not None
  assert child.stderr.readline() == '\n'
  assert 'Ctrl-C again to end at once' in child.stderr.readline()
  child.send_signal(signal.SIGINT)
  _, rest = child.communicate(timeout=60)
  assert (child.returncode, rest) == (130, '')
  trained = int(ready.read_text())
  assert not any(
    process.pid == trained and process.info['status'] != psutil.STATUS_ZOMBIE
    for process in psutil.process_iter(['status'])
  )


def test_some_run_beside_one_another(here, monkeypatch) -> None:
  """The first two each wait for the other; the memory of a GPU is shared by as many."""
  go(here, [item('pair', seeds=[MEETS, MEETS + 1])], '--together=2')
  path = here / 'runs' / 'started'
  assert sorted(path.read_text().splitlines()) == ['pair_seed100 0.450', 'pair_seed101 0.450']
  path.unlink()
  go(here, [item('alone', seeds=[1])])
  monkeypatch.setenv('XLA_PYTHON_CLIENT_MEM_FRACTION', '0.3')  # JAX refuses both
  go(here, [item('own', seeds=[1])], '--together=2')
  assert path.read_text() == 'alone_seed1 \nown_seed1 \n'


def test_no_more_than_asked_for_run_at_a_time(here) -> None:
  go(here, [item('six', seeds=[0, 1, 2, 3, 4, 5])], '--together=2')
  events = map(int, (here / 'runs' / 'events').read_text().split())
  assert max(itertools.accumulate(events)) <= 2
  assert len(kept(here)) == 6


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


@pytest.mark.thorough
def test_a_real_run(tmp_path, monkeypatch) -> None:
  """Two updates on random images, with the launch.py of this project."""
  (tmp_path / 'queue.toml').write_text(item('tiny'))
  monkeypatch.setattr(queue, 'QUEUE', tmp_path / 'queue.toml')
  words = ['--config.data.name=synthetic', '--config.max_steps=2', '--config.tensorboard=false']
  places = [f'--runs={tmp_path}/runs', f'--results={tmp_path}/results']
  command_line.main(['queue', '--hardware=cpu', *places, *words])
  (row,) = tables.read(tmp_path / 'results' / 'runs.csv')
  assert (row['run'], row['epochs'], row['seed']) == ('tiny_seed0', '1', '0')
  assert row['command'].startswith('launch.py --config=configs/lr.py --config.data.name=synthetic')
  summary = json.loads((tmp_path / 'runs' / 'tiny_seed0' / 'summary.json').read_text())
  assert summary['steps'] == 2


def test_a_mistake_of_the_user_is_no_stop() -> None:
  """launch.py ends with status 2 where it cannot save; 2 is the number of SIGINT, too."""
  assert {-2, -15, 130, 143} == children.STATUS_OF_STOPS
