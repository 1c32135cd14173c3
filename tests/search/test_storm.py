"""kill -9 again and again over a study: nothing is lost and nothing counted twice."""

import collections
import itertools
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import optuna
import psutil
import pytest

from cifar_jax.search import study, table
from tests.helpers import REPOSITORY, fake_study

pytestmark = pytest.mark.slow
KILLS = 50
ENOUGH = 10_000  # trials, while the storm goes on
# The URL of an empty database, where there is a server to try.
POSTGRESQL = os.environ.get('CIFAR_JAX_TEST_POSTGRESQL', '')


def start(folder: pathlib.Path, storage: str, trials: int) -> subprocess.Popen[bytes]:
  command = [sys.executable, '-m', 'tests.helpers.fake_study', str(folder), f'--trials={trials}']
  with open(folder.parent / 'output.txt', 'ab') as output:
    return subprocess.Popen(
      [*command, '--workers=2', f'--storage={storage}', '--epoch_seconds=0.3'],
      cwd=REPOSITORY,
      stdout=output,
      stderr=output,
      start_new_session=True,
    )


def workers_of(command: subprocess.Popen[bytes]) -> list[psutil.Process]:
  try:
    return psutil.Process(command.pid).children()
  except psutil.NoSuchProcess:
    return []


def trials_of(folder: pathlib.Path, storage: str) -> list[optuna.trial.FrozenTrial]:
  opened = study.reopen(folder, storage)
  try:
    return opened.study.trials
  finally:
    if engine := getattr(opened.store.storage, 'engine', None):
      engine.dispose()


def _processes_of(folder: pathlib.Path) -> list[psutil.Process]:
  found = psutil.process_iter(['cmdline'])
  return [process for process in found if str(folder) in (process.info['cmdline'] or ())]


@pytest.mark.parametrize(
  'storage',
  [
    '',
    'journal:{folder}/journal.log',
    pytest.param(POSTGRESQL, marks=pytest.mark.skipif(not POSTGRESQL, reason='no server')),
  ],
  ids=['sqlite', 'journal', 'postgresql'],
)
def test_fifty_kills_lose_and_double_nothing(tmp_path, storage) -> None:
  folder, chance = tmp_path / 'study', random.Random(0)
  storage = storage.format(folder=tmp_path)
  command = start(folder, storage, ENOUGH)
  killed: collections.Counter[str] = collections.Counter()
  try:
    while killed.total() < KILLS:
      time.sleep(chance.uniform(0.2, 3.0))
      assert command.poll() is None
      workers = workers_of(command)
      if chance.random() < (0.25 if workers else 0.1):  # seldom while it starts
        command.kill()
        command.wait()
        command = start(folder, storage, ENOUGH)
        killed['command'] += 1
      elif workers:
        chance.choice(workers).kill()
        killed['worker'] += 1
    command.kill()
    command.wait()
    deadline = time.monotonic() + 120
    while _processes_of(folder):  # the workers notice, once they have started
      assert time.monotonic() < deadline, _processes_of(folder)
      time.sleep(0.5)
    count = len(trials_of(folder, storage))
    command = start(folder, storage, count)  # which begins none, and ends those that run
    assert command.wait(600) == 0, (folder.parent / 'output.txt').read_text()[-2000:]
  finally:
    for process in (*workers_of(command), command):
      process.send_signal(signal.SIGKILL)
    command.wait()
  print(dict(killed), count)
  assert count > 5

  trials = trials_of(folder, storage)
  assert [trial.number for trial in trials] == list(range(count))
  assert {trial.state.name for trial in trials} == {'COMPLETE'}
  for trial in trials:
    assert trial.value == pytest.approx(fake_study.accuracy(trial.params['x'], fake_study.EPOCHS))
    assert sorted(trial.intermediate_values) == list(range(1, fake_study.EPOCHS + 1))
  rows = table.read_table(folder)
  assert [row['number'] for row in rows] == list(range(count))
  assert {row['epochs'] for row in rows} == {fake_study.EPOCHS}

  runs = sorted((folder / study.TRIALS).glob('*/seed_0'))
  assert len(runs) == count
  assert not list(folder.rglob('OVERLAP'))
  again = 0
  for run in runs:
    made = [int(line) for line in (run / 'epochs.txt').read_text().split()]
    # An epoch is made again only where a kill came before its checkpoint, and none is left out.
    assert sorted(set(made)) == list(range(1, fake_study.EPOCHS + 1))
    assert all(b - a in (0, 1) for a, b in itertools.pairwise(made))
    assert len(json.loads((run / 'checkpoint.json').read_text())) == fake_study.EPOCHS
    again += len(made) - len(set(made))
  assert again <= KILLS * 2  # a kill of the command ends two workers' epochs
