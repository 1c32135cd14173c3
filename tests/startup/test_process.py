"""Signals and streams, as processes meet them: from the first import to the last line."""

import csv
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys

import pytest

from tests.helpers import REPOSITORY

ENVIRONMENT = {**os.environ, 'JAX_PLATFORMS': 'cpu'}
TINY = ('launch.py', '--config=tests/helpers/tiny.py')
# Compiles fast, and writes few checkpoints.
LINEAR = (
  *('--config.model.widths=()', '--config.model.block=()', "--config.model.head=('flatten',)"),
  '--config.checkpoint.every_epochs=0',
)
SUMMARY = ('-m', 'cifar_jax', 'summary', '--config=configs/cnn_adv.py')

# As a terminal starts programs: those in the background of a script ignore SIGINT. Not by
# `preexec_fn`, since a process in which JAX runs must not fork.
INTERRUPTIBLE = (
  '-c',
  'import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); '
  'os.execv(sys.executable, [sys.executable, *sys.argv[1:]])',
)


def start(*arguments: str, **options) -> subprocess.Popen[str]:
  settings = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'env': ENVIRONMENT, **options}
  return subprocess.Popen(
    [sys.executable, *INTERRUPTIBLE, *arguments],
    cwd=REPOSITORY,
    text=True,
    errors='replace',
    **settings,
  )


def launched(data: pathlib.Path, run: pathlib.Path, *more: str, **options) -> subprocess.Popen[str]:
  return start(*TINY, f'--config.data.dir={data}', f'--workdir={run}', *more, **options)


@pytest.mark.parametrize(
  ('command', 'module', 'number'),
  [
    ('launch', 'absl.flags', signal.SIGINT),
    ('launch', 'numpy', signal.SIGTERM),
    ('launch', 'jaxlib', signal.SIGINT),  # whose extension takes an exception for its own failure
    ('evaluate', 'jaxlib', signal.SIGINT),
  ],
)
def test_interrupted_while_importing(tiny_data, tmp_path, command, module, number) -> None:
  """Right after a module was imported, in the middle of that of another."""
  verbose = ('-X', 'importtime')
  process = (
    start(
      *verbose,
      *TINY,
      f'--config.data.dir={tiny_data}',
      f'--workdir={tmp_path}',
    )
    if command == 'launch'
    else start(*verbose, '-m', 'cifar_jax', 'evaluate', str(tmp_path))
  )
  assert process.stderr is not None
  while not re.search(rf'\| +{re.escape(module)}$', line := process.stderr.readline().rstrip()):
    assert line or process.poll() is None, f'{module} is never imported'
  process.send_signal(number)
  _, stderr = process.communicate(timeout=300)
  said = [line for line in stderr.splitlines() if line and not line.startswith('import time:')]
  assert said == ['interrupted']
  assert process.returncode == 128 + number


def test_interrupts_after_the_run_was_saved(tiny_data, tmp_path) -> None:
  """Whoever will not wait for the last events ends the process, with status 0."""
  process = launched(
    tiny_data,
    tmp_path,
    *LINEAR,
    '--config.epochs=100000',
    '--config.tensorboard=True',
    '--progress=lines',
  )
  assert process.stdout is not None
  asked = False
  while True:
    line = process.stdout.readline()
    assert line, process.stderr and process.stderr.read()
    if 'Epoch 1/' in line and not asked:
      asked = True
      process.send_signal(signal.SIGINT)
    if 'and saved; the same command goes on from there' in line:
      break
  for number in (signal.SIGINT, signal.SIGTERM):
    process.send_signal(number)
  _, stderr = process.communicate(timeout=300)
  assert process.returncode == 0, stderr
  assert 'Traceback' not in stderr
  assert [line for line in stderr.splitlines() if 'interrupted' in line] == []


C_LOCALE = {'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0'}


@pytest.mark.parametrize(
  'encoding',
  [
    'ascii',
    pytest.param('cp1252', marks=pytest.mark.thorough),
    pytest.param('C locale', marks=pytest.mark.slow),
  ],
)
def test_letters_that_a_terminal_cannot_show(tiny_data, tmp_path, encoding) -> None:
  """The table of layers has Greek ones, at a BatchNorm."""
  settings = C_LOCALE if encoding == 'C locale' else {'PYTHONIOENCODING': encoding}
  environment = {**ENVIRONMENT, **settings}
  processes = [start(*SUMMARY, env=environment)]
  if encoding != 'ascii':
    processes.append(launched(tiny_data, tmp_path, '--config.max_steps=1', env=environment))
  for process in processes:
    stdout, stderr = process.communicate(timeout=300)
    assert (process.returncode, stderr) == (0, '')
    if process is processes[0]:
      assert '?|?' in stdout


def epochs_of(run: pathlib.Path) -> list[str]:
  with (run / 'metrics.csv').open(newline='') as file:
    return [row['epoch'] for row in csv.DictReader(file)]


def test_imports_and_tracing_are_not_held_up_by_searches_for_garbage() -> None:
  """A million objects that stay are made in 20 searches; Python's default would be over a thousand
  (700 objects each).
  """
  code = """
import gc
from cifar_jax.startup import process
process.prepare(patient=False)
before = sum(generation['collections'] for generation in gc.get_stats())
kept = [[] for _ in range(1_000_000)]
print(sum(generation['collections'] for generation in gc.get_stats()) - before)
"""
  command = [sys.executable, '-c', code]
  done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
  assert int(done.stdout) <= 20


def test_training_goes_on_when_its_reader_has_gone(tiny_data, tmp_path) -> None:
  process = launched(
    *(tiny_data, tmp_path, *LINEAR, '--config.epochs=4', '--progress=lines'),
    stderr=subprocess.STDOUT,
  )
  assert process.stdout is not None
  while 'Epoch 1/' not in (line := process.stdout.readline()):
    assert line
  process.stdout.close()
  assert process.wait(timeout=300) == 0
  assert epochs_of(tmp_path) == [str(epoch) for epoch in range(1, 5)]
  assert (tmp_path / 'summary.json').exists()


@pytest.mark.thorough
@pytest.mark.parametrize('output', ['> /dev/full', '>&- 2>&-'])
def test_training_where_nothing_can_be_printed(tiny_data, tmp_path, output) -> None:
  if 'full' in output and not pathlib.Path('/dev/full').exists():
    pytest.skip('this system has no /dev/full')
  places = (f'--config.data.dir={tiny_data}', f'--workdir={tmp_path}/run')
  command = shlex.join([sys.executable, *TINY, *places, *LINEAR, '--config.epochs=1'])
  done = subprocess.run(
    f'{command} {output}',
    shell=True,
    cwd=REPOSITORY,
    env=ENVIRONMENT,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert (done.returncode, done.stderr) == (0, '')
  assert epochs_of(tmp_path / 'run') == ['1']


def test_commands_end_quietly_when_their_reader_has_gone() -> None:
  process = start(*SUMMARY)
  assert process.stdout is not None
  assert process.stderr is not None
  process.stdout.close()
  assert process.wait(timeout=300) == 141
  assert process.stderr.read() == ''
  process.stderr.close()


def test_commands_say_that_the_output_is_full() -> None:
  if not pathlib.Path('/dev/full').exists():
    pytest.skip('this system has no /dev/full')
  with open('/dev/full', 'w') as full:
    process = start(*SUMMARY, stdout=full)
    _, stderr = process.communicate(timeout=300)
  assert process.returncode == 2
  assert stderr == 'error: the output cannot be written: No space left on device\n'


LEAVING = """
import atexit
from cifar_jax.startup import process
atexit.register(print, 'registered')
print('said')
process.leave()
"""


@pytest.mark.parametrize('more', [(), ('-m', 'cProfile'), ('-m', 'trace', '--count', '--summary')])
def test_an_early_end_does_what_was_registered_for_it(tmp_path, more) -> None:
  """And profilers, which look at the process from outside of it, have their say."""
  script = tmp_path / 'leaving.py'
  script.write_text(LEAVING)
  if 'trace' in more:  # which else writes beside the modules
    more = (*more, f'--coverdir={tmp_path}')
  process = start(*more, str(script), env={**ENVIRONMENT, 'PYTHONPATH': str(REPOSITORY)})
  stdout, _ = process.communicate(timeout=300)
  lines = stdout.splitlines()
  assert process.returncode == 0
  assert lines[0] == 'said'
  assert 'registered' in lines
  reports = {'cProfile': 'function calls', 'trace': 'lines   cov%'}
  assert not more or reports[more[1]] in stdout
