"""The processes of a queue: beside one another, stopped, killed, failing."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from benchmarks import command_line, tables
from benchmarks.results import queue
from benchmarks.results.queued import items
from tests.helpers import REPOSITORY
from tests.helpers.fake_launch import FAILS, MEETS, STUBBORN, WAITS, go, item, kept, started

pytestmark = pytest.mark.skipif(os.name == 'nt', reason='SIGTERM ends a process at once there')


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


def test_a_run_that_could_not_save_has_failed_though_it_was_asked_to_stop(here, capsys) -> None:
  """launch.py ends with status 2 then, which is the number of SIGINT, too."""
  (here / 'queue.toml').write_text(item('one'))
  (found,) = items.read(here / 'queue.toml')
  run, place = items.Run(found, 0), items.Place(here, here)
  place.log(run).write_text('error: saving failed: no space left\n')
  assert not queue._look_at(run, 2, place, asked=True)
  assert 'one_seed0 failed with status 2: error: saving failed' in capsys.readouterr().out
  for status in (0, -2, -15, 130, 143):
    assert queue._look_at(run, status, place, asked=True)
    assert 'one_seed0 stopped after epoch 0' in capsys.readouterr().out
