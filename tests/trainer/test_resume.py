"""Interrupted and resumed against never interrupted: the same bits. Processes are really killed."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from cifar_jax.run_dir.progress import Progress
from cifar_jax.trainer import loop
from cifar_jax.trainer.build import Trainer, build_trainer
from tests.helpers import REPOSITORY
from tests.helpers.before_step import Crash, before_step, crash
from tests.helpers.killed_run import session
from tests.helpers.runs import SILENT, assert_identical, changed, rows_of, state_of
from tests.helpers.tiny import ONE_LAYER

pytestmark = pytest.mark.usefixtures('shared_trainers')

ENVIRONMENT = {**os.environ, 'JAX_PLATFORMS': 'cpu'}


@pytest.fixture(scope='module')
def uninterrupted(tiny_data, tmp_path_factory) -> pathlib.Path:
  run = tmp_path_factory.mktemp('uninterrupted')
  finished = session(run, tiny_data)
  assert finished.returncode == 0, finished.stderr
  return run


@pytest.fixture
def config(tiny_config):
  """As killed_run.py trains, with Adam: a checkpoint every four steps, so in the middle of epochs
  of six.
  """
  return changed(tiny_config, **{**ONE_LAYER, 'checkpoint.every_steps': 4})


# Epochs end after steps 6, 12 and 18; checkpoints are written after 4, 6, 8, 12, 16 and 18.
@pytest.mark.parametrize(
  ('moment', 'step', 'resumed_from'),
  [
    # Before anything was saved.
    pytest.param('step', 2, 0, marks=pytest.mark.thorough),
    ('step', 11, 8),  # three steps after a checkpoint in the middle of an epoch
    # All of a checkpoint is written, none of it visible; the same with files cut short.
    ('save', 12, 8),
    pytest.param('files', 16, 12, marks=pytest.mark.thorough),
  ],
)
def test_kill_9_and_resume(
  uninterrupted, config, tiny_data, tmp_path, moment, step, resumed_from
) -> None:
  killed = session(tmp_path, tiny_data, moment, step)
  assert killed.returncode == -signal.SIGKILL
  complete = [int(p.name) for p in (tmp_path / 'checkpoints').iterdir() if p.name.isdecimal()]
  assert max(complete, default=0) == resumed_from
  again = session(tmp_path, tiny_data)
  assert again.returncode == 0, again.stderr
  assert ('resuming after step' in again.stdout) == (resumed_from > 0)
  assert_identical(state_of(config, tmp_path), state_of(config, uninterrupted))
  assert_identical(state_of(config, tmp_path, 'best'), state_of(config, uninterrupted, 'best'))
  assert rows_of(tmp_path) == rows_of(uninterrupted)


# SIGINT is sent to the runs of tests/startup/test_process.py every day, SIGTERM to that of
# test_background_saves.py, and tests/commands/test_doctor.py trains and resumes by command lines.
@pytest.mark.parametrize(
  'number',
  [
    pytest.param(signal.SIGTERM, marks=pytest.mark.thorough),
    pytest.param(signal.SIGINT, marks=pytest.mark.slow),
  ],
)
def test_signal_saves_and_resumes(uninterrupted, config, tiny_data, tmp_path, number) -> None:
  """Through the command line that users type, with oneDNN as they have it."""
  environment = {**ENVIRONMENT, 'CIFAR_JAX_ONEDNN': 'on'}
  command = [
    *(sys.executable, 'launch.py', '--config=tests/helpers/tiny.py', f'--workdir={tmp_path}'),
    *(f'--config.data.dir={tiny_data}', '--config.checkpoint.every_steps=4'),
    *(f'--config.{option}={value!r}' for option, value in ONE_LAYER.items()),
  ]
  slowly = [*command, '--config.epochs=100000']
  process = subprocess.Popen(
    slowly,
    cwd=REPOSITORY,
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )
  assert process.stdout is not None
  output = ''
  while 'Epoch 1/' not in output:
    line = process.stdout.readline()
    assert line, output
    output += line
  process.send_signal(number)
  output += process.communicate(timeout=60)[0]
  assert process.returncode == 0, output
  assert 'and saved; the same command goes on from there' in output
  assert 'Traceback' not in output
  stopped = max(int(p.name) for p in (tmp_path / 'checkpoints').iterdir())
  epochs = stopped // 6 + 2
  for run in (tmp_path, tmp_path / 'straight'):
    arguments = [*command, f'--config.epochs={epochs}', f'--workdir={run}', '--progress=silent']
    finished = subprocess.run(
      arguments, cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=120
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout == ''
  assert_identical(state_of(config, tmp_path), state_of(config, tmp_path / 'straight'))
  assert rows_of(tmp_path) == rows_of(tmp_path / 'straight')


def test_second_interrupt_exits_now(tiny_data, tmp_path) -> None:
  """A step that takes for ever cannot be waited for; the second Ctrl-C does not wait."""
  process = subprocess.Popen(
    [sys.executable, '-m', 'tests.helpers.killed_run', str(tmp_path), str(tiny_data), 'hang', '3'],
    cwd=REPOSITORY,
    env=ENVIRONMENT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )
  assert process.stdout is not None
  while process.stdout.readline() != 'hanging\n':
    assert process.poll() is None
  process.send_signal(signal.SIGINT)
  assert process.stderr is not None
  while 'Ctrl-C again' not in (line := process.stderr.readline()):
    assert line
  with pytest.raises(subprocess.TimeoutExpired):
    process.wait(timeout=1)
  process.send_signal(signal.SIGINT)
  process.communicate(timeout=60)  # the step takes ten minutes
  assert process.returncode == 130


OPTIONS = {
  'short batches, plateau, accumulation, ema': {
    'plateau.patience': 1,
    'plateau.min_delta': 10.0,  # never improved: lowered after the second epoch
    'grad_accum_steps': 2,
    'batch_size': 32,  # the last batch of an epoch is short
    'weight_averaging.name': 'ema',
  },
  'mixup, swa': {
    'augment.mixup': 0.5,
    'weight_averaging.name': 'swa',
    'weight_averaging.start_epoch': 1.0,
  },
  'colors, schedule_free': {
    'augment.flip': 'random',
    'augment.brightness': 0.3,
    'optimizer.name': 'sgd',
    'schedule.name': 'warmup_cosine',
    'schedule.warmup_epochs': 1.0,
    'weight_averaging.name': 'schedule_free',
  },
}


@pytest.mark.parametrize(
  'name',
  [
    'short batches, plateau, accumulation, ema',
    pytest.param('mixup, swa', marks=pytest.mark.slow),
    pytest.param('colors, schedule_free', marks=pytest.mark.thorough),
  ],
)
def test_crash_and_resume_with_what_else_a_run_remembers(name, config, tmp_path) -> None:
  """Crashes in the third epoch, after the checkpoint of step 16, and goes on to step 24."""
  options = changed(config, epochs=4, **OPTIONS[name])
  loop.train(options, tmp_path / 'straight', SILENT)
  with before_step(17, crash), pytest.raises(Crash):
    loop.train(options, tmp_path / 'crashed', SILENT)
  loop.train(options, tmp_path / 'crashed', SILENT)
  assert_identical(
    state_of(options, tmp_path / 'crashed'), state_of(options, tmp_path / 'straight')
  )
  assert rows_of(tmp_path / 'crashed') == rows_of(tmp_path / 'straight')
  rates = [float(row['learning_rate']) for row in rows_of(tmp_path / 'crashed')]
  if 'plateau' in name:
    np.testing.assert_allclose(rates, [1e-3, 1e-3, 1e-4, 1e-5], rtol=1e-6)


@pytest.mark.thorough
def test_a_run_begun_with_the_generator_of_tpus_goes_on_with_threefry_and_says_so(
  tiny_config, tmp_path, monkeypatch, capsys
) -> None:
  """And before the move it is to the bit what `rng='rbg'` gives."""
  tiny_config = changed(tiny_config, **ONE_LAYER)
  monkeypatch.setattr(loop, 'build_trainer', build_trainer)  # equal configs, other generators
  with monkeypatch.context() as patch:
    patch.setattr(Trainer, 'generator', 'rbg')  # as 'auto' is on TPU
    loop.train(changed(tiny_config, max_steps=2), tmp_path / 'moved', Progress('lines'))
  asked = changed(tiny_config, max_steps=2, rng='rbg')
  loop.train(asked, tmp_path / 'asked', Progress('lines'))
  states = [state_of(tiny_config, tmp_path / run) for run in ('moved', 'asked')]
  assert_identical(*states)
  loop.train(changed(tiny_config, max_steps=2), tmp_path / 'here', Progress('lines'))
  assert rows_of(tmp_path / 'here') != rows_of(tmp_path / 'moved')
  assert 'drew by the generator' not in capsys.readouterr().out
  # Whoever asks for the generator of before keeps its numbers.
  kept = changed(tiny_config, rng='rbg')
  shutil.copytree(tmp_path / 'moved', tmp_path / 'kept')
  loop.train(changed(kept, max_steps=4), tmp_path / 'kept', Progress('lines'))
  assert 'drew by the generator' not in capsys.readouterr().out
  loop.train(changed(kept, max_steps=4), tmp_path / 'asked', Progress('lines'))
  assert_identical(*(state_of(tiny_config, tmp_path / run) for run in ('kept', 'asked')))
  loop.train(changed(tiny_config, max_steps=4), tmp_path / 'moved', Progress('lines'))
  assert "drew by the generator 'rbg', those from now on draw by 'threefry'" in (
    capsys.readouterr().out
  )
  loop.train(changed(tiny_config, max_steps=6), tmp_path / 'moved', Progress('lines'))
  assert 'drew by the generator' not in capsys.readouterr().out
