import os
import sys
import time

import pytest

from cifar_jax.utils.child_process import run_bounded

posix = pytest.mark.skipif(os.name != 'posix', reason='shell scripts')


def test_output_and_status():
  program = 'import sys; print(1); print(2, file=sys.stderr); sys.exit(3)'
  outcome = run_bounded([sys.executable, '-c', program], 60)
  assert (outcome.status, outcome.output.strip(), outcome.errors.strip()) == (3, '1', '2')
  assert not outcome.late


@posix
@pytest.mark.parametrize('script', ['echo begun; exec sleep 60', 'echo begun; sleep 60 & wait'])
def test_one_that_hangs_is_stopped_with_its_children_and_what_it_said_is_kept(script, tmp_path):
  start = time.monotonic()
  outcome = run_bounded(['sh', '-c', f'{script}; echo > {tmp_path}/alive'], 0.5)
  assert time.monotonic() - start < 10
  assert outcome.late
  assert outcome.status is None
  assert outcome.output == 'begun\n'


@posix
def test_one_that_ignores_the_end_of_its_time():
  outcome = run_bounded(['sh', '-c', 'trap "" TERM INT HUP; while :; do sleep 0.1; done'], 0.3)
  assert outcome.late


@posix
def test_a_signal_is_a_negative_status():
  assert run_bounded(['sh', '-c', 'kill -ABRT $$'], 60).status == -6


@pytest.mark.parametrize('command', [['/no/such/program'], [os.getcwd()], ['a\0b']])
def test_one_that_does_not_start(command):
  outcome = run_bounded(command, 60)
  assert outcome.status is None
  assert outcome.errors
  assert not outcome.late


@posix
def test_bytes_that_are_no_text():
  assert run_bounded(['printf', r'\377\376'], 60).output == '\ufffd\ufffd'
