"""Several processes on this machine, really started and really killed."""

import csv
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from cifar_jax.devices import distributed
from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop
from cifar_jax.utils.errors import UserError
from tests.helpers import REPOSITORY, tiny
from tests.helpers.one_of_several import free_address
from tests.helpers.runs import assert_close, changed, state_of

SILENT = Progress('silent')
pytestmark = pytest.mark.usefixtures('shared_trainers')


@pytest.fixture
def tiny_config(tiny_config):
  """As tests/helpers/one_of_several.py trains."""
  return changed(tiny_config, batch_size=32)


@pytest.mark.parametrize(
  ('environment', 'several'),
  [
    ({}, False),
    ({'SLURM_STEP_NUM_TASKS': '1'}, False),
    ({'SLURM_STEP_NUM_TASKS': '4'}, True),
    ({'OMPI_COMM_WORLD_SIZE': '2'}, True),
    ({'TPU_WORKER_HOSTNAMES': 'localhost'}, False),
    ({'TPU_WORKER_HOSTNAMES': 't1k-0,t1k-1'}, True),
  ],
)
def test_schedulers_are_believed(environment, several) -> None:
  assert distributed.is_multiprocess_launch(environment) == several


@pytest.mark.parametrize(
  ('arguments', 'words'),
  [
    (('10.0.0.1:1234',), 'go together'),
    (('', 2, 0), 'go together'),
    (('auto', 2, 0), 'go together'),
    (('10.0.0.1', 2, 0), 'is not HOST:PORT'),
    (('10.0.0.1:1234', 2, 2), '--process_id=2 must be from 0 to 1'),
  ],
)
def test_contradictions_are_named(arguments, words) -> None:
  with pytest.raises(UserError, match=words), distributed.initialize_distributed(*arguments):
    pass


def test_alone_nothing_happens() -> None:
  with pytest.raises(ZeroDivisionError), distributed.initialize_distributed():
    raise ZeroDivisionError


@pytest.mark.parametrize(
  ('error', 'status', 'words'),
  [
    (ValueError('UNKNOWN: Gloo AllGather failed: Connection closed by peer'), 75, 'resumes from'),
    (UserError('no data'), 2, 'no data'),
    (KeyboardInterrupt(), 130, 'interrupted'),
    (ValueError('shapes differ'), 1, 'shapes differ'),
  ],
)
def test_how_one_of_several_ends(error, status, words) -> None:
  found, text = distributed._ending(error)
  assert found == status
  assert words in text


def together(
  run: pathlib.Path,
  data: pathlib.Path,
  processes: int,
  epochs: int,
  devices: int = 1,
  killed: int = -1,
  moment: str = 'never',
  step: int = 0,
) -> tuple[list[int], list[str], float]:
  """Statuses and outputs of processes that train together, and how long the others lived after one
  was killed.
  """
  coordinator = free_address()
  environment = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'JAX_NUM_CPU_DEVICES': str(devices)}
  started = [
    subprocess.Popen(
      [
        *(sys.executable, '-m', 'tests.helpers.one_of_several', str(run), str(data), str(epochs)),
        *(coordinator, str(processes), str(number)),
        *((moment, str(step)) if number == killed else ()),
      ],
      cwd=REPOSITORY,
      env=environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    for number in range(processes)
  ]
  died = time.monotonic()
  if killed >= 0:
    started[killed].wait(timeout=500)
    died = time.monotonic()
  outputs = [process.communicate(timeout=500)[0] for process in started]
  return [process.returncode for process in started], outputs, time.monotonic() - died


def losses_of(run: pathlib.Path) -> list[float]:
  with (run / 'metrics.csv').open(newline='') as file:
    return [float(row['train_loss']) for row in csv.DictReader(file)]


@pytest.fixture
def one(tiny_config):
  return changed(tiny_config, **tiny.ONE_CONVOLUTION, **{'checkpoint.every_steps': 4})


@pytest.mark.thorough
def test_two_processes_train_as_one(one, tiny_data, tmp_path) -> None:
  statuses, outputs, _ = together(tmp_path / 'two', tiny_data, processes=2, epochs=1)
  assert statuses == [0, 0], outputs
  assert '2 cpu devices in 2 processes' in outputs[0]
  assert 'Epoch 1/1' in outputs[0]
  assert 'Epoch' not in outputs[1]
  loop.train(changed(one, epochs=1), tmp_path / 'one', SILENT)
  assert losses_of(tmp_path / 'two') == pytest.approx(losses_of(tmp_path / 'one'), rel=1e-5)
  assert_close(state_of(one, tmp_path / 'one'), state_of(one, tmp_path / 'two'))


@pytest.mark.thorough
def test_one_process_goes_on_where_two_ended(one, tiny_data, tmp_path) -> None:
  """One epoch in two processes, the second in one with one device: the run of one throughout."""
  assert together(tmp_path / 'two', tiny_data, processes=2, epochs=1)[0] == [0, 0]
  for run in ('one', 'two'):
    loop.train(changed(one, epochs=2), tmp_path / run, SILENT)
  assert losses_of(tmp_path / 'two') == pytest.approx(losses_of(tmp_path / 'one'), rel=1e-5)
  assert_close(state_of(one, tmp_path / 'one'), state_of(one, tmp_path / 'two'))


@pytest.mark.slow
@pytest.mark.parametrize(
  ('killed', 'moment', 'step', 'saved'),
  [
    (2, 'step', 10, 8),  # in training, two steps after a checkpoint
    (0, 'step', 10, 8),  # the process that the others listen to
    (0, 'save', 12, 8),  # the process that writes, all of it written and none of it visible
  ],
)
def test_one_of_four_is_killed(
  tiny_config, tiny_data, tmp_path, killed, moment, step, saved
) -> None:
  """The others end within a minute and say why; two processes resume, and nothing is lost."""
  run = tmp_path / 'run'
  statuses, outputs, seconds = together(
    run, tiny_data, processes=4, epochs=3, killed=killed, moment=moment, step=step
  )
  assert statuses[killed] == -signal.SIGKILL, outputs[killed]
  assert seconds < 60
  for number, (status, output) in enumerate(zip(statuses, outputs, strict=True)):
    if number != killed:
      assert status in (distributed.LOST, -signal.SIGABRT), output
      assert 'another process was lost' in output or 'another task died' in output
  complete = [int(path.name) for path in (run / 'checkpoints').iterdir() if path.name.isdecimal()]
  assert max(complete) == saved
  statuses, outputs, _ = together(run, tiny_data, processes=2, epochs=3)
  assert statuses == [0, 0], outputs
  assert f'resuming after step {saved} of 18' in outputs[0]
  one = changed(tiny_config, **tiny.ONE_CONVOLUTION, **{'checkpoint.every_steps': 4})
  loop.train(one, tmp_path / 'one', SILENT)
  assert_close(state_of(one, tmp_path / 'one'), state_of(one, run))
  assert losses_of(run) == pytest.approx(losses_of(tmp_path / 'one'), rel=1e-5)


@pytest.mark.slow
def test_a_stop_asked_of_one_process_stops_all(tiny_config, tiny_data, tmp_path) -> None:
  """SIGTERM reaches only the second of two processes; both save the same step and end well."""
  statuses, outputs, _ = together(
    tmp_path, tiny_data, processes=2, epochs=3, killed=1, moment='asked', step=7
  )
  assert statuses == [0, 0], outputs
  assert 'and saved; the same command goes on from there' in outputs[0]
  stopped = max(int(path.name) for path in (tmp_path / 'checkpoints').iterdir())
  assert 7 < stopped < 18
