"""Checkpoints that are written while the training goes on: their order, their bits, and what is
left when the process is killed inside of one.
"""

import pathlib
import shutil
import signal
import threading
import time

import numpy as np
import pytest

from cifar_jax.run_dir import history
from cifar_jax.run_dir.background import Background
from cifar_jax.run_dir.checkpoint import Checkpoints
from cifar_jax.trainer import loop, session
from cifar_jax.utils.errors import UserError
from tests.helpers import killed_run
from tests.helpers.before_step import before_step
from tests.helpers.runs import SILENT, assert_identical, changed, rows_of, state_of

pytestmark = pytest.mark.usefixtures('shared_trainers')


@pytest.fixture
def config(tiny_config):
  """Six steps an epoch, three epochs; checkpoints after steps 4, 6, 8, 12, 16 and 18."""
  return changed(tiny_config, **OPTIONS, **{'checkpoint.every_steps': 4})


# A dense layer alone: a process traces it in a third of the time of a convolution.
OPTIONS = {'model.widths': (), 'model.head': ('flatten',), 'checkpoint.keep': 9}
STEPS = [4, 6, 8, 12, 16, 18]


@pytest.fixture
def one_after_the_other(config, tmp_path, monkeypatch) -> pathlib.Path:
  """The run in which nothing is trained while something is written."""
  submit = Background.submit

  def submit_and_wait(self, job) -> None:
    submit(self, job)
    self.wait()

  with monkeypatch.context() as patch:
    patch.setattr(Background, 'submit', submit_and_wait)
    loop.train(config, tmp_path / 'one_after_the_other', SILENT)
  return tmp_path / 'one_after_the_other'


def test_order_and_bits_of_slow_saves(config, tmp_path, one_after_the_other, monkeypatch) -> None:
  """Each save begins when an update after its copy, which reuses the memory of the state, is under
  way; then the row, the best and the latest are written in this order, never two at once, and every
  checkpoint is to the bit what it is without anything beside it.
  """
  noted: list[tuple[str, int]] = []
  save, append, dispatch = Checkpoints.save, history.append_row, session.Session._dispatch
  saving = threading.Lock()

  def later_updates(step: int) -> list[int]:
    return [s for what, s in noted if what == 'dispatch' and s >= step]

  def slow_save(self, state, facts, *, best=False) -> None:
    assert threading.current_thread() is not threading.main_thread()
    assert saving.acquire(blocking=False)
    step = int(state.step)
    end = time.monotonic() + 10
    while step < STEPS[-1] and not later_updates(step) and time.monotonic() < end:
      time.sleep(0.01)
    save(self, state, facts, best=best)
    noted.append(('best' if best else 'latest', int(state.step)))
    saving.release()

  def noted_append(run, rows, *further) -> None:
    append(run, rows, *further)
    noted.append(('row', int(rows[-1]['step'])))

  def noted_dispatch(self, state, step, count):
    noted.append(('dispatch', step))
    return dispatch(self, state, step, count)

  monkeypatch.setattr(Checkpoints, 'save', slow_save)
  monkeypatch.setattr(history, 'append_row', noted_append)
  monkeypatch.setattr(session.Session, '_dispatch', noted_dispatch)
  loop.train(config, tmp_path / 'slow', SILENT)
  written = [(what, step) for what, step in noted if what in ('row', 'best', 'latest')]
  best = {step for what, step in written if what == 'best'}
  assert 6 in best
  assert written == [
    entry
    for step in STEPS
    for entry in (
      *([('row', step)] if step % 6 == 0 else []),
      *([('best', step)] if step in best else []),
      ('latest', step),
    )
  ]
  for step in STEPS[:-1]:  # updates after this one were made before it was on disk
    assert noted.index(('dispatch', step)) < noted.index(('latest', step))
  assert rows_of(tmp_path / 'slow') == rows_of(one_after_the_other)
  for which in ('best', *map(str, STEPS)):
    states = [state_of(config, run, which) for run in (tmp_path / 'slow', one_after_the_other)]
    assert_identical(*states)


def test_nothing_waits_for_a_save_where_the_newest_alone_is_kept(
  config, tmp_path, one_after_the_other, monkeypatch
) -> None:
  """The first save ends when all updates are made: those between are left out, the best is not."""
  dispatched, written = [], []
  save, dispatch = Checkpoints.save, session.Session._dispatch
  all_made = threading.Event()

  def slow_save(self, state, facts, *, best=False) -> None:
    assert all_made.wait(60)
    written.append(('best' if best else 'latest', int(state.step)))
    save(self, state, facts, best=best)

  def noted_dispatch(self, state, step, count):
    dispatched.append(step)
    if step == STEPS[-1] - 1:
      all_made.set()
    return dispatch(self, state, step, count)

  monkeypatch.setattr(Checkpoints, 'save', slow_save)
  monkeypatch.setattr(session.Session, '_dispatch', noted_dispatch)
  loop.train(changed(config, **{'checkpoint.keep': 1}), tmp_path / 'run', SILENT)
  assert dispatched == list(range(STEPS[-1]))
  first, *others = written
  assert first == ('latest', 4)
  best = int(state_of(config, one_after_the_other, 'best').step)
  assert others[-2:] == [('best', best), ('latest', 18)]
  assert len(others) <= 4  # one more if it began after the last update
  for which in ('best', '18'):
    states = [state_of(config, run, which) for run in (tmp_path / 'run', one_after_the_other)]
    assert_identical(*states)
  assert rows_of(tmp_path / 'run') == rows_of(one_after_the_other)


def test_an_unwritable_folder_ends_the_run_soon(config, tmp_path) -> None:
  """Noticed at the save of step 8, said by the one of step 12; then the run goes on from step 6."""

  def spoil() -> None:
    (tmp_path / 'run' / 'checkpoints').rename(tmp_path / 'away')
    (tmp_path / 'run' / 'checkpoints').write_text('')

  made: list[int] = []
  dispatch = session.Session._dispatch
  with pytest.MonkeyPatch.context() as patch:

    def noted(self, state, step, count):
      made.append(step)
      return dispatch(self, state, step, count)

    patch.setattr(session.Session, '_dispatch', noted)
    with (
      before_step(7, spoil),
      pytest.raises(UserError, match=r'^cannot write to .*command again$'),
    ):
      loop.train(config, tmp_path / 'run', SILENT)
  assert max(made) < 12
  (tmp_path / 'run' / 'checkpoints').unlink()
  (tmp_path / 'away').rename(tmp_path / 'run' / 'checkpoints')
  loop.train(config, tmp_path / 'run', SILENT)
  loop.train(config, tmp_path / 'straight', SILENT)
  assert_identical(state_of(config, tmp_path / 'run'), state_of(config, tmp_path / 'straight'))
  assert rows_of(tmp_path / 'run') == rows_of(tmp_path / 'straight')


def complete(run: pathlib.Path) -> list[int]:
  folder = run / 'checkpoints'
  return (
    sorted(int(p.name) for p in folder.iterdir() if p.name.isdecimal()) if folder.exists() else []
  )


def storm(config, data, folder: pathlib.Path, straight: pathlib.Path, moments) -> int:
  """Kills runs at moments, goes on with each until it ends, and compares all that there is with an
  uninterrupted run; returns how many ended.

  Args:
    moments: How many files each session touches before it is killed.
  """
  reference = [rows_of(straight), {step: state_of(config, straight, str(step)) for step in STEPS}]

  def check(run: pathlib.Path, before: list[int]) -> list[int]:
    steps = complete(run)
    assert set(before) <= set(steps)  # what was complete stays
    for step in steps:
      assert_identical(state_of(config, run, str(step)), reference[1][step])
    if steps:  # every row that a checkpoint has is in metrics.csv
      assert len(rows_of(run)) >= steps[-1] // 6
    return steps

  ended, run, steps = 0, folder / '0', []
  for number in [*moments, 0]:  # 0: not killed
    done = killed_run.session(run, data, 'writing', number, **OPTIONS)
    assert done.returncode in ((-signal.SIGKILL, 0) if number else (0,)), done.stderr
    steps = check(run, steps)
    if done.returncode == 0:
      assert rows_of(run) == reference[0]
      assert_identical(state_of(config, run, 'best'), state_of(config, straight, 'best'))
      shutil.rmtree(run)
      ended, steps = ended + 1, []
      run = folder / str(ended)
  return ended


@pytest.mark.thorough
def test_killed_inside_a_save(config, tiny_data, tmp_path, one_after_the_other) -> None:
  """A few moments; the slow test has a hundred."""
  assert storm(config, tiny_data, tmp_path, one_after_the_other, [20, 60, 90]) == 1


@pytest.mark.slow
def test_killed_inside_saves_a_hundred_times(
  config, tiny_data, tmp_path, one_after_the_other
) -> None:
  moments = np.random.default_rng(0).integers(1, 150, 100).tolist()
  assert storm(config, tiny_data, tmp_path, one_after_the_other, moments) > 5


def test_sigterm_inside_a_save(config, tiny_data, tmp_path, one_after_the_other) -> None:
  """The save in progress is completed, then the state of the last update is saved."""
  done = killed_run.session(
    tmp_path / 'run', tiny_data, 'asked in writing', 30, epochs=50, **OPTIONS
  )
  assert done.returncode == 0, done.stderr
  assert 'and saved; the same command goes on from there' in done.stdout
  steps = complete(tmp_path / 'run')
  assert steps
  assert f'stopped after step {steps[-1]} of 300' in done.stdout
  again = killed_run.session(tmp_path / 'run', tiny_data, **OPTIONS)
  assert again.returncode == 0, again.stderr
  assert_identical(state_of(config, tmp_path / 'run'), state_of(config, one_after_the_other))
  assert rows_of(tmp_path / 'run') == rows_of(one_after_the_other)
