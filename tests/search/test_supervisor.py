"""How workers end, and what that means for their trials."""

import os
import signal
import sys

import optuna
import pytest

from cifar_jax.search import budget, claims, rows, show, supervisor, worker
from cifar_jax.search.attributes import OWNER
from cifar_jax.utils.errors import UserError

CRASHES = """
import os, signal, sys, time
time.sleep(0.5)
os.kill(os.getpid(), signal.SIGSEGV)
"""


@pytest.mark.parametrize(
  ('status', 'out_of_memory', 'expected'),
  [
    (-signal.SIGKILL, False, ''),
    (-signal.SIGKILL, True, 'out of memory: the system killed its process'),
    (-signal.SIGTERM, True, ''),
    (-signal.SIGSEGV, False, 'its process crashed (SIGSEGV)'),
    (-signal.SIGABRT, True, 'its process crashed (SIGABRT)'),
    (3, False, 'its process crashed (status 3)'),
  ],
)
def test_what_a_process_that_ended_is_blamed_for(status, out_of_memory, expected) -> None:
  assert supervisor.blame(status, out_of_memory) == expected


def test_a_crash_costs_the_trial_and_not_the_study(open_fake, monkeypatch, capsys) -> None:
  """The worker that takes the place of the crashed one finds the budget spent."""
  opened, bounds = open_fake(), budget.Budget(1)
  trial = opened.study.ask()
  trial.suggest_float('x', 0, 1)
  starts = []
  start = supervisor._start

  def started(command, log, workers):
    starts.append(command)
    crashes = len(starts) == 1
    child = start([sys.executable, '-c', CRASHES if crashes else ''], log, workers)
    if crashes:
      trial.set_user_attr(OWNER, {**claims.new_owner(), 'pid': child.pid})
    return child

  monkeypatch.setattr(supervisor, '_start', started)
  assert supervisor.supervise(opened, [], 1, bounds, show.Show(bar=False))
  (found,) = opened.trials()
  assert found.state is optuna.trial.TrialState.FAIL
  assert rows.row_of(opened, found)['reason'] == ('its process crashed (SIGSEGV); see worker_0.log')
  assert 0 < budget.seconds(found.user_attrs) < 20  # or a budget of minutes would never end
  assert len(starts) == 2
  assert 'trial    0  failed' in capsys.readouterr().out


def test_another_process_takes_the_place_of_one_that_has_done_many(open_fake, tmp_path) -> None:
  mark = tmp_path / 'been here'
  code = f"""
import pathlib, sys
mark = pathlib.Path({str(mark)!r})
if not mark.exists():
  mark.touch()
  sys.exit({worker.GO_ON})
mark.unlink()
"""
  command, starts = [sys.executable, '-c', code], []
  assert supervisor.supervise(
    open_fake(), command, 1, budget.Budget(1), show.Show(bar=False), lambda: starts.append('start')
  )
  assert not mark.exists()
  assert starts == ['start'] * 2


@pytest.mark.skipif(not hasattr(os, 'sched_setaffinity'), reason='no process is kept to cores here')
def test_each_worker_has_its_cores_and_so_has_the_one_in_its_place(open_fake) -> None:
  """From the start, before JAX asks how many there are; what they print is in their logs."""
  code = f"""
import os, sys
is_first = not os.fstat(1).st_size
print(*sorted(os.sched_getaffinity(0)))
sys.exit({worker.GO_ON} if is_first else 0)
"""
  all_cores = sorted(os.sched_getaffinity(0))
  opened, command = open_fake(), [sys.executable, '-c', code]
  assert supervisor.supervise(opened, command, 2, budget.Budget(1), show.Show(bar=False))
  logs = [(opened.folder / f'worker_{n}.log').read_text().splitlines() for n in (0, 1)]
  assert all(first == again for first, again in logs)
  shares = [[int(core) for core in first.split()] for first, _ in logs]
  if len(all_cores) > 1:
    assert sorted(shares[0] + shares[1]) == all_cores
  else:
    assert shares == [all_cores] * 2
  assert sorted(os.sched_getaffinity(0)) == all_cores


@pytest.mark.parametrize(
  ('code', 'said'),
  [
    ("print('error: no data'); raise SystemExit(2)", '^no data$'),
    ("raise SystemExit('odd')", r'worker 0 ended 3 times before it began a trial \(status 1: odd'),
  ],
)
def test_what_no_trial_is_to_blame_for_ends_the_study(open_fake, code, said) -> None:
  command = [sys.executable, '-c', code]
  with pytest.raises(UserError, match=said):
    supervisor.supervise(open_fake(), command, 1, budget.Budget(1), show.Show(bar=False))
