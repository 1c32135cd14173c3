"""Spaces that never answer, and what is asked of this process meanwhile."""

import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

from cifar_jax.search import asking, attributes, space, study
from cifar_jax.utils.errors import UserError
from tests.helpers import REPOSITORY, fake_study

SPACE = """
import time
from configs import base
def get_config(trial):
  trial.suggest_float('x', 0, 1)
  {line}
  return base.get_config()
"""
LOOPS = [
  'while True: pass',
  'time.sleep(5)',
  """
  while trial:
    try:
      assert not trial
    except Exception:
      pass""",
]


@pytest.fixture
def hasty(monkeypatch) -> None:
  monkeypatch.setattr(asking, 'SECONDS', 0.15)
  monkeypatch.setattr(asking, '_AFTER_A_STOP', 0.1)
  monkeypatch.setattr(asking, '_LOOK', 0.03)


def asking_threads() -> set[threading.Thread]:
  """Those that go on, as what sleeps does for some seconds."""
  return {thread for thread in threading.enumerate() if thread.name == 'asks for a config'}


def all_end(threads: set[threading.Thread]) -> bool:
  for thread in threads:
    thread.join(20)
  return not any(thread.is_alive() for thread in threads)


@pytest.mark.usefixtures('hasty')
@pytest.mark.parametrize('line', LOOPS)
def test_a_space_that_does_not_answer_is_told_by_its_line(tmp_path, line) -> None:
  """When it is tried before a study begins; a loop is then over, unlike what only sleeps."""
  path = tmp_path / 'endless.py'
  path.write_text(SPACE.format(line=line))
  plan = study.Plan(kind='search', space=str(path))
  said = rf'^{re.escape(str(path))}, line \d+: there is no config for the trial after 0\.15 seconds'
  before, start = asking_threads(), time.monotonic()
  with pytest.raises(UserError, match=said) as error:
    study.check_proposals(space.load_space(str(path)), plan)
  assert time.monotonic() - start < 4
  (number,) = re.findall(r', line (\d+):', str(error.value))
  assert int(number) in range(6, 6 + 1 + line.count('\n'))
  if 'sleep' not in line:
    assert all_end(asking_threads() - before)


@pytest.mark.usefixtures('hasty')
def test_a_trial_without_a_config_has_failed_and_the_next_one_begins(
  open_fake, work, monkeypatch
) -> None:
  class Endless(fake_study.Space):
    def propose(self, trial, study):
      while trial.number == 0:
        pass
      return super().propose(trial, study)

  monkeypatch.setattr(fake_study, 'Space', Endless)
  opened = open_fake()
  work(opened, trials=2)
  first, second = opened.trials()
  assert first.state.name == 'FAIL'
  assert first.user_attrs[attributes.REASON].startswith('fake.py: there is no config')
  assert second.state.name == 'COMPLETE'


@pytest.mark.usefixtures('hasty')
def test_a_worker_that_is_to_stop_waits_for_no_space(open_fake, work, monkeypatch) -> None:
  """Its trial is then anybody's. It was asked once: what is to come is another process's."""
  asked = []

  class Endless(fake_study.Space):
    def propose(self, trial, study):
      asked.append(trial.number)
      os.kill(os.getpid(), signal.SIGTERM)
      while True:
        time.sleep(0.01)

  monkeypatch.setattr(asking, 'SECONDS', 60.0)
  monkeypatch.setattr(fake_study, 'Space', Endless)
  opened = open_fake()
  work(opened, trials=2)
  (trial,) = opened.trials()
  assert trial.state.name == 'RUNNING'
  assert trial.user_attrs[attributes.OWNER] is None
  assert asked == [0]


def test_ctrl_c_is_answered_while_a_space_is_asked() -> None:
  asked = asking_threads()

  def propose():
    time.sleep(0.5)  # by then the other thread waits for this one
    os.kill(os.getpid(), signal.SIGINT)
    while True:
      pass

  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  try:
    with pytest.raises(KeyboardInterrupt):
      asking.ask(propose, 'space.py')
  finally:
    signal.signal(signal.SIGINT, before)
  assert all_end(asking_threads() - asked)


def test_what_a_space_raises_and_returns_is_handed_on() -> None:
  config = fake_study.base.get_config()
  assert asking.ask(lambda: config, 'space.py') is config
  with pytest.raises(ZeroDivisionError):
    asking.ask(lambda: 1 // 0, 'space.py')


@pytest.mark.thorough
def test_ctrl_c_ends_the_command(tmp_path) -> None:
  path = tmp_path / 'endless.py'
  path.write_text(SPACE.format(line='print("asked", flush=True)\n  while True: pass'))
  command = [sys.executable, '-m', 'cifar_jax', 'search', str(path), f'--folder={tmp_path / "s"}']
  pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
  with subprocess.Popen(command, cwd=REPOSITORY, **pipes) as process:
    assert process.stdout
    assert process.stdout.readline() == 'asked\n'
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
  assert (process.returncode, errors.strip()) == (130, 'interrupted')
  assert not (tmp_path / 's').exists()
