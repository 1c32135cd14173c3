"""Verdicts on what jaxlib is no public interface for: made once, kept, and never in the way."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from cifar_jax.startup import trials


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> pathlib.Path:
  monkeypatch.setenv('CIFAR_JAX_CACHE', str(tmp_path))
  monkeypatch.setattr(trials, 'jaxlib_version', lambda: '9.8.7')
  return tmp_path / 'trials'


def counted(tmp_path: pathlib.Path, then: str = '') -> tuple[str, pathlib.Path]:
  """A program that adds a letter to a file, and the file."""
  file = tmp_path / 'runs'
  return f'open({str(file)!r}, "a").write("x"); {then}', file


def test_what_works_is_tried_once_for_each_version_and_processor(tmp_path, cache, monkeypatch):
  program, runs = counted(tmp_path)
  for _ in range(3):
    assert trials.objection('a', program) == ''
  assert runs.read_text() == 'x'
  monkeypatch.setattr(trials, 'jaxlib_version', lambda: '9.8.8')
  trials.objection('a', program)
  assert runs.read_text() == 'xx'
  monkeypatch.setattr(trials.processor, 'kind', lambda: 'another')
  trials.objection('a', program)
  trials.objection('b', program)
  assert runs.read_text() == 'xxxx'
  assert len(list(cache.iterdir())) == 4  # nor is a draft left over


@pytest.mark.parametrize(
  ('end', 'said'),
  [
    ('raise SystemExit("no such flag")', 'ended with status 1 (no such flag)'),
    ('import os; os.abort()', 'ended with status -6'),
  ],
)
def test_what_fails_or_crashes_is_refused_from_then_on(tmp_path, cache, end, said):
  program, runs = counted(tmp_path, end)
  first = trials.objection('a', program)
  assert said in first
  (file,) = cache.iterdir()
  assert first.endswith(f'with jaxlib 9.8.7; delete {file} to try again')
  assert trials.objection('a', program) == first
  assert runs.read_text() == 'x'
  assert json.loads(file.read_text())['jaxlib'] == '9.8.7'
  file.unlink()
  trials.objection('a', program)
  assert runs.read_text() == 'xx'


@pytest.mark.parametrize('end', ['os.kill(os.getpid(), 9)', 'time.sleep(60)'])
def test_a_trial_that_was_ended_from_outside_is_no_verdict(tmp_path, cache, monkeypatch, end):
  monkeypatch.setattr(trials, '_SECONDS', 0.5)
  assert 'with jaxlib 9.8.7' in trials.objection('a', f'import os, time; {end}')
  assert not cache.exists()
  monkeypatch.setattr(trials, '_SECONDS', 60)
  assert trials.objection('a', '') == ''


@pytest.mark.parametrize('text', ['', '{"problem": 3}', '[]', '{"problem"', '\xff'])
def test_a_damaged_verdict_is_made_again(cache, text):
  trials.objection('a', '')
  (file,) = cache.iterdir()
  file.write_text(text, 'latin-1')
  assert trials.objection('a', '') == ''
  assert json.loads(file.read_text())['problem'] == ''


def test_without_a_cache_folder_each_process_tries(tmp_path, monkeypatch):
  program, runs = counted(tmp_path)
  (tmp_path / 'file').touch()
  for folder in (str(tmp_path / 'file'), 'x' * 5000):
    monkeypatch.setenv('CIFAR_JAX_CACHE', folder)
    assert trials.objection('a', program) == ''
  assert runs.read_text() == 'xx'


def test_a_refusal_in_the_list_needs_no_trial(monkeypatch):
  monkeypatch.setitem(trials.REFUSED, ('a', '9.8.7'), 'it computes nonsense')
  assert trials.objection('a', '') == 'it computes nonsense with jaxlib 9.8.7'
  assert trials.objection('b', '') == ''


def test_a_trial_sees_this_package_and_no_options_of_jax_but_its_own(monkeypatch):
  monkeypatch.setenv('JAX_DISABLE_JIT', '1')
  monkeypatch.setenv('XLA_FLAGS', '--of_the_user')
  program = """
import os, cifar_jax
assert os.environ['XLA_FLAGS'] == '--tried' and os.environ['JAX_PLATFORMS'] == 'cpu'
assert 'JAX_DISABLE_JIT' not in os.environ
"""
  assert trials.objection('a', program, '--tried') == ''


def test_what_jax_says_is_told_and_not_its_remark_on_tracebacks():
  program = 'import jax; jax.jit(lambda x: x.reshape(7))(jax.numpy.ones(3))'
  found = trials.objection('a', program)
  assert 'reshape' in found
  assert 'JAX_TRACEBACK_FILTERING' not in found


def test_an_unknown_xla_flag_ends_the_trial_alone():
  """What the trials are for; jaxlib's own doing."""
  program = 'import jax; jax.devices()'
  found = trials.objection('a', program, '--xla_cpu_no_such_flag=1')
  assert 'Unknown flag in XLA_FLAGS: --xla_cpu_no_such_flag=1' in found


def test_processes_at_once_agree(tmp_path):
  program = 'from cifar_jax.startup import trials; print([trials.objection("a", "")])'
  processes = [
    subprocess.Popen([sys.executable, '-c', program], stdout=subprocess.PIPE, env=os.environ)
    for _ in range(4)
  ]
  assert [p.communicate()[0] for p in processes] == [b"['']\n"] * 4
  assert len(list((tmp_path / 'trials').iterdir())) == 1
