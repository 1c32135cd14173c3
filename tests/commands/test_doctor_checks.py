"""Single checks of the doctor."""

import os
import pathlib
import sys

import pytest

from cifar_jax.commands.doctor import child, installation, machine
from cifar_jax.startup import accelerators, installed
from tests.helpers.doctor_answers import GPU, PROBED, Usage, one
from tests.helpers.fake_machine import install

pytestmark = pytest.mark.usefixtures('nothing_remembered')


@pytest.mark.parametrize(
  ('chosen', 'status', 'fix'),
  [('', 'fault', 'pip install -U "jax[cuda12]"'), ('cpu', 'note', 'unset JAX_PLATFORMS')],
)
def test_an_accelerator_that_is_not_used(answers, monkeypatch, chosen, status, fix):
  monkeypatch.setenv('JAX_PLATFORMS', chosen)
  monkeypatch.setattr(accelerators, 'find', lambda: [GPU])
  monkeypatch.setattr(accelerators, 'nvidia_smi', lambda: (('Tesla T4', 'Tesla T4'), ''))
  monkeypatch.setattr(installed, 'plugins', lambda platform: {})
  answers(child.Answer(PROBED, ''))
  found = one(machine.check_accelerators)
  assert (found.status, found.fix[: len(fix)]) == (status, fix)
  assert found.what.startswith('Tesla T4, Tesla T4 (/dev/nvidia0) is not used')
  assert found.facts['used'] is False


@pytest.mark.parametrize(
  ('change', 'said', 'fix'),
  [
    ({'jaxlib': '0.11.0'}, 'jaxlib 0.11.0 is installed, and jax needs', 'pip install -U "jaxlib<='),
    ({'numpy': None, 'flax': None}, 'not installed: numpy, flax', 'pip install -U -e .'),
  ],
)
def test_packages(monkeypatch, tmp_path, change, said, fix):
  versions = {name.replace('-', '_'): '9.9' for name in installation._CORE}
  versions |= {'jax': '0.12.0.1', 'jaxlib': '0.12.0.1', **change}
  install(tmp_path, **{name: number for name, number in versions.items() if number})
  monkeypatch.setattr(sys, 'path', [str(tmp_path)])
  found = one(installation.check_packages)
  assert found.status == 'fault'
  assert said in found.what
  assert found.fix.startswith(fix)


def test_plugins_and_libtpu_of_other_versions(monkeypatch, tmp_path):
  plugin = {'jax_cuda12_plugin': '0.7.2', 'jax_cuda12_pjrt': '0.7.2'}
  install(tmp_path, jax='0.12.0.1', jaxlib='0.12.0.1', libtpu='0.0.21.1', **plugin)
  monkeypatch.setattr(sys, 'path', [str(tmp_path)])
  cuda, tpu = installation.check_plugins()
  assert cuda.what.startswith('jax-cuda12-plugin and jax-cuda12-pjrt 0.7.2 beside jaxlib 0.12.0.1')
  assert cuda.fix == 'pip install -U "jax[cuda12]"'
  assert tpu.what == 'libtpu 0.0.21.1, and jax 0.12.0.1 wants ==0.0.50.*'
  assert tpu.fix == 'pip install -U "jax[tpu]"'
  assert (cuda.status, tpu.status) == ('note', 'note')


def test_a_disk_without_room(monkeypatch):
  monkeypatch.setattr(machine.shutil, 'disk_usage', lambda _: Usage(2**40, 2**40, 50 * 2**20))
  found = list(machine.check_disk())
  assert [finding.status for finding in found] == ['fault'] * 3
  assert found[1].what.startswith('50 MiB free for cache at ')
  assert found[1].fix == 'export CIFAR_JAX_CACHE=/a/folder/with/room'
  monkeypatch.setattr(machine.shutil, 'disk_usage', lambda _: Usage(2**40, 2**40, 2**30))
  assert {finding.status for finding in machine.check_disk()} == {'note'}


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
  (tmp_path / 'file').touch()
  monkeypatch.setenv('CIFAR_JAX_CACHE', str(tmp_path / 'file' / 'cache'))
  found = one(machine.check_cache)
  assert found.status == 'fault'
  assert 'cannot be written' in found.what


def test_a_user_without_a_home(monkeypatch):
  for name in ('HOME', 'CIFAR_JAX_CACHE', 'XDG_CACHE_HOME', 'USERPROFILE'):
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setattr(os.path, 'expanduser', lambda text: text)  # as for a user of no name
  found = one(machine.check_cache)
  assert found.status == 'fault'
  assert 'no home folder' in found.what
  assert not pathlib.Path('~').exists()


def test_how_a_program_ended_is_told():
  told = child._trouble
  assert told(0, False, 'a warning', 9) == ''
  assert told(1, False, 'Traceback\nValueError: x.\n\n', 9) == 'ValueError: x'
  assert told(3, False, '', 9) == 'it ended with status 3'
  assert told(-6, False, 'F0000 check failed', 9) == 'SIGABRT ended it (F0000 check failed)'
  assert told(None, True, '', 9) == 'it did not end within 9 seconds'
  assert told(None, False, 'Permission denied', 9) == 'it did not start (Permission denied)'
