"""The script for a GPU: its commands parse, and it goes on where it ended."""

import csv
import os
import pathlib
import shlex
import shutil
import subprocess
import sys

import pytest

from benchmarks import results, speed
from cifar_jax.commands import parsing
from tests.helpers import REPOSITORY

pytestmark = pytest.mark.skipif(
  os.name == 'nt' or not shutil.which('bash') or not shutil.which('timeout'), reason='needs bash'
)
# Writes a row, but for the steps that are to fail or to hang.
STUB = """#!/bin/sh
echo "$@" >> "$SAID"
case "$*" in
  *bad*) exit 3 ;;
  *slow*) sleep 60 ;;
esac
for word; do out=$word; done
case "$out" in --out=*) printf 'a,b\\n1,2\\n' > "${out#--out=}" ;; esac
"""


def session(folder: pathlib.Path, *words: str, **environment: str):
  return subprocess.run(
    ['bash', str(REPOSITORY / 'benchmarks' / 'gpu_session.sh'), *words],
    env={
      **os.environ,
      'OUT': str(folder / 'out'),
      'CIFAR_JAX_CACHE': str(folder / 'cache'),
      **environment,
    },
    capture_output=True,
    text=True,
    timeout=900,
  )


@pytest.fixture
def stub(tmp_path) -> dict[str, str]:
  path = tmp_path / 'stub'
  path.write_text(STUB)
  path.chmod(0o755)
  seeds = {'SEEDS': '0 1', 'MORE_SEEDS': '2'}
  return {'PYTHON': str(path), 'SAID': str(tmp_path / 'said'), 'QUEUE': '', 'TOGETHER': '', **seeds}


def test_every_command_parses_and_names_what_is_there(tmp_path) -> None:
  done = session(tmp_path, '--dry_run', PYTHON='python')
  assert done.returncode == 0, done.stderr
  lines = [shlex.split(line) for line in done.stdout.splitlines()]
  assert len(lines) == 2 * 11 + 7 + 4 + 1
  parser = parsing.make_parser('python -m benchmarks', '', speed, results)
  outs = []
  *steps, last = lines
  for words in steps:
    assert words[:3] == ['python', '-m', 'benchmarks']
    arguments = parsing.parse(parser, words[3:])
    configs = getattr(arguments, 'configs', None)
    names = [f'configs/{configs}.py'] if configs else [arguments.config]
    assert all((REPOSITORY / name).is_file() for name in names), names
    outs.append(arguments.out)
  assert len(set(outs)) == len(outs)
  left = parsing.parse(parser, last[3:])
  assert (left.verb, left.hardware, left.together, left.minutes) == ('queue', 'gpu', 6, 13.0)
  assert left.runs.parent == left.results == tmp_path / 'out'
  assert not (tmp_path / 'out').exists()


def test_it_goes_on_where_it_ended_and_past_what_fails(tmp_path, stub) -> None:
  chosen = {**stub, 'RECIPES': 'one', 'FAMILIES': 'bad two'}
  first = session(tmp_path, **chosen)
  assert first.returncode == 0, first.stderr
  with (tmp_path / 'out' / 'steps.csv').open(newline='') as file:
    steps = {row['step']: row['status'] for row in csv.DictReader(file)}
  fill = [name for name in steps if name.startswith('one_first_')]
  assert len(fill) == 1  # the first warm one on a machine has one before it that compiles
  expected = {'one_warm_0', 'one_warm_1', 'one_cold_0', 'throughput_two', 'one_warm_2'}
  assert {name for name, status in steps.items() if status == '0'} == {*fill, *expected}
  assert steps['throughput_bad'] == '3'
  said = pathlib.Path(stub['SAID'])
  made = said.read_text().splitlines()
  assert [line for line in made if '--cold' in line] == [line for line in made if 'cold_0' in line]

  said.unlink()
  session(tmp_path, **chosen)
  assert [line.split()[2] for line in said.read_text().splitlines()] == ['throughput']
  left = session(tmp_path, '--dry_run', **chosen).stdout.splitlines()
  assert len(left) == 1
  assert 'bad' in left[0]


def test_a_new_machine_has_nothing_warm(tmp_path, stub) -> None:
  chosen = {**stub, 'RECIPES': 'one', 'FAMILIES': '', 'MORE_SEEDS': ''}
  session(tmp_path, **{**chosen, 'SEEDS': '0'})
  shutil.rmtree(tmp_path / 'cache')
  session(tmp_path, **chosen)
  assert len(list((tmp_path / 'out').glob('one_first_*.csv'))) == 2


def test_no_step_begins_that_has_no_time(tmp_path, stub) -> None:
  done = session(tmp_path, **stub, SECONDS_LEFT='80', RECIPES='one', FAMILIES='slow')
  assert 'throughput_slow: no time left' in done.stdout
  assert 'one_warm_1' in done.stdout


def test_the_queue_has_the_rest_of_the_time(tmp_path, stub) -> None:
  chosen = {**stub, 'RECIPES': '', 'FAMILIES': '', 'QUEUE': '--hardware=gpu'}
  for _ in range(2):  # what it has to do, it knows itself
    session(tmp_path, **chosen, SECONDS_LEFT='195')
  said = [line.split() for line in pathlib.Path(stub['SAID']).read_text().splitlines()]
  out = tmp_path / 'out'
  places = [f'--runs={out}/queue', f'--results={out}']
  assert [words[:4] + words[5:] for words in said] == 2 * [
    ['-m', 'benchmarks', 'queue', '--hardware=gpu', *places]
  ]
  minutes = [float(words[4].removeprefix('--minutes=')) for words in said]
  assert all(1.5 < given <= (195 - 60) / 60 for given in minutes), minutes
  steps = (out / 'steps.csv').read_text().splitlines()
  assert [step.rpartition(',')[0] for step in steps] == ['step,status', 'queue,0', 'queue,0']
  late = session(tmp_path, **chosen, SECONDS_LEFT='80')
  assert late.stdout == 'queue: no time left\n'


def test_other_words_are_refused(tmp_path) -> None:
  done = session(tmp_path, '--help_me')
  assert done.returncode == 2
  assert done.stderr == "error: '--help_me' is not --dry_run, the one option\n"


@pytest.mark.slow
def test_tiny_on_cpu(tmp_path) -> None:
  """The whole of it, with the smallest network on random images."""
  done = session(
    tmp_path,
    **{'PYTHON': sys.executable, 'PLATFORM': 'cpu', 'RECIPES': 'lr', 'FAMILIES': 'lr'},
    **{'SEEDS': '0', 'MORE_SEEDS': '', 'SYSTEMS': 'ours', 'REPEATS': '1', 'TURN': '0.1'},
    OVERRIDES='--config.data.name=synthetic --config.max_steps=2',
    QUEUE='--only=lr --config.data.name=synthetic --config.max_steps=2',
    SECONDS_LEFT='900',
  )
  assert done.returncode == 0, done.stderr
  names = {path.stem.rstrip('0123456789') for path in (tmp_path / 'out').glob('*.csv')}
  assert {'steps', 'lr_warm_', 'lr_cold_', 'throughput_lr', 'runs'} <= names, (
    done.stdout + done.stderr
  )
