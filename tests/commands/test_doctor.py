"""The doctor on machines and installations that are broken in all kinds of ways."""

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from cifar_jax.commands import doctor
from cifar_jax.commands.doctor import child, findings, installation, machine, probe, training
from cifar_jax.commands.doctor.findings import Finding
from cifar_jax.commands.doctor.ten_steps import _difference, _same_bits
from cifar_jax.startup import accelerators, installed
from cifar_jax.utils.child_process import Outcome
from tests.helpers import REPOSITORY
from tests.helpers.doctor_answers import GPU, PROBED, TRAINED, one
from tests.helpers.python_process import run_python

pytestmark = pytest.mark.usefixtures('nothing_remembered')


def run_doctor(capsys, *options: str) -> tuple[int, str]:
  try:
    doctor.run(argparse.Namespace(json='--json' in options))
    status = 0
  except SystemExit as end:
    status = end.code
  return status, capsys.readouterr().out


@pytest.fixture
def healthy(answers, monkeypatch):
  """A machine with a CPU and all packages."""
  monkeypatch.setattr(accelerators, 'find', lambda: [])
  monkeypatch.setattr(installation, '_unmet', lambda owner, named: iter(()))
  return answers(child.Answer(PROBED, ''), cpu=child.Answer(TRAINED, ''))


def test_a_healthy_machine(healthy, capsys):
  status, text = run_doctor(capsys)
  assert status == 0, text
  assert text.splitlines()[-1] == 'healthy'
  assert not any(line.strip().startswith('->') for line in text.splitlines())
  status, text = run_doctor(capsys, '--json')
  content = json.loads(text)
  assert (status, content['format'], content['healthy']) == (0, 1, True)
  checks = [finding['check'] for finding in content['findings']]
  assert checks == [
    *('python', 'packages', 'plugins', 'tensorflow', 'processor', 'memory', 'disk', 'cache', 'jax'),
    *('accelerators', 'data', 'train_cpu', 'kernels'),
  ]
  assert {frozenset(finding) for finding in content['findings']} == {
    frozenset({'check', 'status', 'what', 'fix', 'facts'})
  }


def test_notes_leave_the_status_and_faults_do_not(healthy, capsys, monkeypatch):
  missing = {**PROBED, 'data': {'cifar10': None, 'mnist': '/here'}}
  monkeypatch.setattr(child, 'probe', lambda: child.Answer(missing, ''))
  status, text = run_doctor(capsys)
  assert status == 0
  assert 'cifar10, the data of most configs, is not here, but mnist in /here' in text
  assert '-> python -m cifar_jax data fetch cifar10' in text
  assert text.splitlines()[-1] == 'healthy, with 1 note: data'
  monkeypatch.setattr(machine, '_LEAST_DISK', 1 << 80)
  monkeypatch.setattr(machine, '_LITTLE_DISK', 1 << 80)
  status, text = run_doctor(capsys)
  assert status == 1
  assert text.splitlines()[-1] == '3 faults to mend: disk'


def test_data_that_cannot_be_read_are_a_fault(healthy, capsys, monkeypatch, tmp_path):
  damaged = {'cifar10': '/here/x.tar.gz: the file is empty.', 'mnist': '/there has no labels'}
  facts = {**PROBED, 'data': {'cifar10': '/here', 'mnist': '/there'}, 'damaged_data': damaged}
  monkeypatch.setattr(child, 'probe', lambda: child.Answer(facts, ''))
  status, text = run_doctor(capsys)
  assert status == 1
  assert 'cifar10 in /here cannot be read: /here/x.tar.gz: the file is empty\n' in text
  assert '-> move /there away, then python -m cifar_jax data fetch mnist' in text
  monkeypatch.setenv('CIFAR_JAX_DATA', str(tmp_path / 'nowhere'))
  monkeypatch.setattr(child, 'probe', lambda: child.Answer(PROBED, ''))
  status, text = run_doctor(capsys)
  assert status == 0
  assert 'CIFAR_JAX_DATA=' in text
  assert text.splitlines()[-1] == 'healthy, with 1 note: data'


def test_the_probe_reads_the_data_that_are_there(tmp_path, monkeypatch):
  archive = tmp_path / 'cifar-10-python.tar.gz'
  archive.touch()
  monkeypatch.setenv('CIFAR_JAX_CACHE', str(tmp_path / 'cache'))
  assert 'cifar-10-python.tar.gz' in probe._trouble('cifar10', {'cifar10': tmp_path})
  assert probe._trouble('mnist', {'cifar10': tmp_path, 'mnist': None}) == ''


def test_two_packages_of_tensorflow_are_a_fault(monkeypatch):
  there = {'tensorflow': '2.20.0', 'tensorflow-cpu': '2.19.0'}
  monkeypatch.setattr(installed, 'version', there.get)
  found = one(installation.check_tensorflow)
  assert found.status == 'fault'
  assert found.what == 'tensorflow and tensorflow-cpu are installed, which overwrite each other'
  assert found.fix.startswith('pip uninstall -y tensorflow tensorflow-cpu')
  del there['tensorflow']
  assert one(installation.check_tensorflow).what == 'tensorflow-cpu 2.19.0'
  there.clear()
  assert one(installation.check_tensorflow).status == 'ok'


def test_a_folder_that_was_deleted_is_said(monkeypatch, tmp_path):
  gone = tmp_path / 'gone'
  gone.mkdir()
  monkeypatch.chdir(gone)
  gone.rmdir()
  found = one(machine.check_disk)
  assert (found.status, found.what) == (
    'fault',
    'the folder in which this command was started has been deleted',
  )


def test_of_what_a_process_says_last_the_words_are_told():
  errors = 'jax is too old\n' + '*' * 40 + '\n  ^^^^\n'
  assert child._trouble(1, False, errors, 1.0) == 'jax is too old'
  assert child._trouble(1, False, '***\n', 1.0) == 'it ended with status 1'


def test_a_check_that_fails_is_a_finding(healthy, capsys, monkeypatch):
  def fails():
    raise ZeroDivisionError('of\nall things')

  monkeypatch.setitem(doctor._CHECKS, 'memory', fails)
  status, text = run_doctor(capsys)
  assert status == 1
  assert 'FAULT   this check failed (ZeroDivisionError: of all things)' in text
  assert 'kernels       ok' in text  # those after it are made


def test_without_jax_the_rest_is_looked_at(answers, capsys, monkeypatch):
  monkeypatch.setattr(accelerators, 'find', lambda: [])
  started = answers(child.Answer({}, "ModuleNotFoundError: No module named 'jax'"))
  status, text = run_doctor(capsys)
  assert status == 1
  assert "JAX cannot be imported: ModuleNotFoundError: No module named 'jax'" in text
  assert 'pip install -U --force-reinstall jax jaxlib' in text
  assert 'not tried, since JAX cannot be imported' in text
  assert [module for module, *_ in started] == ['probe']


def test_jax_that_hangs_when_it_starts_leaves_the_cpu_to_be_tried(answers, monkeypatch):
  begun = {name: PROBED[name] for name in ('jax', 'import_seconds', 'data', 'default_data')}
  late = child.Answer(begun, 'it did not end within 120 seconds')
  answers(late, cpu=child.Answer(TRAINED, ''))
  found = one(machine.check_jax)
  assert found.status == 'fault'
  assert found.what == 'JAX does not start: it did not end within 120 seconds'
  assert 'JAX_PLATFORMS=cpu' in found.fix
  assert one(machine.check_data).status == 'ok'
  assert one(training.check_training).status == 'ok'


def test_an_accelerator_in_use_trains_too_and_is_compared(answers, monkeypatch):
  monkeypatch.setattr(accelerators, 'find', lambda: [GPU])
  monkeypatch.setattr(accelerators, 'nvidia_smi', lambda: (('NVIDIA H100',), ''))
  gpu = {**TRAINED, 'kind': 'NVIDIA H100', 'difference': 3e-6}
  started = answers(
    child.Answer({**PROBED, 'backend': 'gpu', 'devices': {'NVIDIA H100': 1}}, ''),
    cpu=child.Answer(TRAINED, ''),
    gpu=child.Answer(gpu, ''),
  )
  assert one(machine.check_accelerators).what == 'NVIDIA H100 (/dev/nvidia0) is used'
  cpu, found = training.check_training()
  assert (cpu.check, found.check, found.status) == ('train_cpu', 'train_gpu', 'ok')
  assert 'from the CPU it differs by 3.0e-06 (at most 0.001)' in found.what
  assert started[1] == ('ten_steps', ['cpu'], {'JAX_PLATFORMS': 'cpu', 'JAX_PLATFORM_NAME': ''})
  assert started[2] == (
    'ten_steps',
    ['gpu', 'cpu'],
    {'JAX_DEFAULT_MATMUL_PRECISION': 'highest'},
  )


@pytest.mark.parametrize(
  ('change', 'said'),
  [
    ({'same_bits': False}, 'stopped after five steps and resumed, it came to other bits'),
    ({'resumed_steps': 5}, '10 and 5 steps were made in place of 10'),
    ({'difference': 0.01}, 'from the CPU it differs by 1.0e-02 (at most 0.001)'),
    ({'difference': math.nan}, 'from the CPU it differs by nan'),
    ({'pmap_difference': 0.5}, 'from pmap it differs by 5.0e-01'),
  ],
)
def test_training_that_is_wrong_is_a_fault(change, said):
  found = training._judge('gpu', child.Answer({**TRAINED, **change}, ''))
  assert found.status == 'fault'
  assert said in found.what
  assert training._judge('gpu', child.Answer(TRAINED, '')).status == 'ok'


@pytest.mark.parametrize('facts', [{}, {'kind': 'cpu', 'devices': 1, 'platform': 'cpu'}])
def test_training_that_crashes_is_a_fault(answers, facts):
  answers(child.Answer(PROBED, ''), cpu=child.Answer(facts, 'SIGILL ended it'))
  found = one(training.check_training)
  assert found.status == 'fault'
  assert 'ten steps failed: SIGILL ended it' in found.what
  assert one(training.check_kernels).status == 'note'


def test_kernels_that_do_not_work_are_a_note(answers):
  text = 'a trial ended with status 1 with jaxlib 0.7.2'
  facts = {**TRAINED, 'library': [], 'objections': {'float32': text}}
  answers(child.Answer(PROBED, ''), cpu=child.Answer(facts, ''))
  found = one(training.check_kernels)
  assert found.status == 'note'
  assert found.what.startswith("XLA's own, without oneDNN")
  assert f'float32 is slow: {text}' in found.what


def test_kernels_that_are_turned_off_are_said_to_be(answers):
  facts = {**TRAINED, 'library': [], 'objections': {}, 'chosen': False}
  answers(child.Answer(PROBED, ''), cpu=child.Answer(facts, ''))
  assert 'turned off by CIFAR_JAX_CPU_KERNELS' in one(training.check_kernels).what


def test_it_starts_without_any_package(tmp_path):
  """-S hides all packages from it, and a broken JAX stands in the way of its children."""
  (tmp_path / 'jax.py').write_text("raise ImportError('libstdc++ is too old')")
  path = f'{tmp_path}{os.pathsep}{REPOSITORY}'
  done = run_python('-S', '-m', 'cifar_jax', 'doctor', cwd=tmp_path, PYTHONPATH=path)
  assert done.returncode == 1
  assert done.stderr == ''
  assert 'not installed: jax, jaxlib, numpy' in done.stdout
  assert 'JAX cannot be imported: ImportError: libstdc++ is too old' in done.stdout


@pytest.mark.skipif(os.name != 'posix', reason='signals of POSIX')
def test_ctrl_c_ends_what_it_started(tmp_path):
  program = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
  (tmp_path / 'jax.py').write_text(program)
  environment = {**os.environ, 'PYTHONPATH': f'{tmp_path}{os.pathsep}{REPOSITORY}'}
  with subprocess.Popen(
    [sys.executable, '-S', '-m', 'cifar_jax', 'doctor'],
    env=environment,
    cwd=tmp_path,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  ) as process:
    pid = tmp_path / 'pid'
    until = time.monotonic() + 60
    while not (pid.exists() and pid.read_text()) and time.monotonic() < until:
      time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
  assert process.returncode == 130
  assert errors == 'interrupted\n'
  with pytest.raises(ProcessLookupError):
    os.kill(int(pid.read_text()), 0)


def test_what_was_said_before_a_line_broke_off_counts(monkeypatch) -> None:
  said = f'a library\n{child._MARK}{{"jax": "0.10"}}\n{child._MARK}{{"data": {{"cifar'
  late = Outcome(None, said, '', late=True)
  monkeypatch.setattr(child, 'run_bounded', lambda *_: late)
  assert child.ask('probe', [], 9, {}) == ({'jax': '0.10'}, 'it did not end within 9 seconds')


def test_differences_and_bits():
  arrays = ({'a': np.ones((2, 2), np.float32)}, {}, ())
  found = {'losses': [2.0, 1.0], 'arrays': arrays}
  other = {'losses': np.array([2.0, 1.0]), 'parameters': np.ones(4, np.float32)}
  assert _difference(found, other) == 0
  assert _difference(found, {**other, 'parameters': np.float32([1, 1, 1, 1.1])}) == pytest.approx(
    0.1 / math.sqrt(3 + 1.1**2), rel=1e-5
  )
  assert _difference({**found, 'losses': [2.0, 1.3]}, other) == pytest.approx(0.3 / math.sqrt(5))
  assert _same_bits(found, found)
  negative = ({'a': np.ones((2, 2), np.float32) * np.float32(1 + 2**-23)}, {}, ())
  assert not _same_bits(found, {**found, 'arrays': negative})


def test_text_keeps_commands_whole():
  fix = 'pip install -U ' + 'x' * 120
  text = findings.as_text(Finding('jax', 'fault', 'word ' * 60, fix))
  assert all(len(line) <= 100 for line in text.splitlines()[:-1])
  assert text.splitlines()[-1].strip() == f'-> {fix}'


def test_it_trains_and_resumes_here(tmp_path):
  """All of it, on this machine's CPU."""
  done = run_python('-m', 'cifar_jax', 'doctor', '--json', TMPDIR=str(tmp_path))
  content = json.loads(done.stdout)
  (found,) = (one for one in content['findings'] if one['check'] == 'train_cpu')
  assert found['status'] == 'ok', found
  assert found['facts']['same_bits'] is True
  first, last = found['facts']['losses']
  assert 0 < last < 0.7 * first
  assert list(tmp_path.iterdir()) == []  # nothing is left behind


@pytest.mark.slow
def test_several_devices_are_compared_with_pmap(tmp_path, monkeypatch):
  monkeypatch.setenv('XLA_FLAGS', '--xla_force_host_platform_device_count=2')
  facts, trouble = child.ask('ten_steps', [str(tmp_path), 'cpu'], 600, {'JAX_PLATFORMS': 'cpu'})
  assert trouble == ''
  assert facts['devices'] == 2
  assert facts['same_bits']
  assert 0 <= facts['pmap_difference'] < 1e-5
