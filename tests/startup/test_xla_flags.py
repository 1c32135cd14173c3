import os
import subprocess
import sys

import jax
import pytest

from cifar_jax.startup import accelerators, installed, xla_flags
from cifar_jax.startup.xla_flags import set_flags

FUSIONS = '--xla_cpu_experimental_ynn_fusion_type'
LEVEL = '--xla_backend_optimization_level'
SCHEDULER = '--xla_cpu_scheduler_type'
LESS_MEMORY = f'{SCHEDULER}=CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED'
FLAGS = f'{FUSIONS}=dot,reduce {LESS_MEMORY} {LEVEL}=1'


@pytest.fixture(autouse=True)
def machine_where_it_works(monkeypatch):
  """The cases below hold wherever the tests run."""
  monkeypatch.setattr(xla_flags.platform, 'machine', lambda: 'x86_64')
  monkeypatch.setattr(xla_flags.trials, 'objection', lambda *_: '')
  monkeypatch.setattr(installed, 'plugin_modules', set)
  monkeypatch.setattr(accelerators, 'find_devices', lambda *_: [])


def test_flags_are_added_and_named():
  environment: dict[str, str] = {}
  assert set_flags(environment) == f'XLA flags: {FLAGS}'
  assert environment == {'XLA_FLAGS': FLAGS}


def test_flags_of_the_user_stay_in_front():
  environment = {'XLA_FLAGS': '--xla_dump_to=/tmp/x'}
  set_flags(environment)
  assert environment['XLA_FLAGS'] == f'--xla_dump_to=/tmp/x {FLAGS}'


@pytest.mark.parametrize(
  ('own', 'added'),
  [
    (f'{FUSIONS}=', f'{LESS_MEMORY} {LEVEL}=1'),
    (f'{LEVEL}=2', f'{FUSIONS}=dot,reduce {LESS_MEMORY}'),
  ],
)
def test_a_flag_that_the_user_set_is_not_set_again(own, added):
  environment = {'XLA_FLAGS': own}
  assert set_flags(environment) == f'XLA flags: {added}'
  assert environment == {'XLA_FLAGS': f'{own} {added}'}


@pytest.mark.parametrize(
  ('environment', 'reason'),
  [
    ({'CIFAR_JAX_XLA_FLAGS': 'off'}, 'CIFAR_JAX_XLA_FLAGS=off'),
    ({'XLA_FLAGS': f'{FUSIONS}= {LESS_MEMORY} {LEVEL}=3'}, 'XLA_FLAGS sets them'),
    ({'XLA_FLAGS': '/home/me/flags.txt'}, 'XLA_FLAGS names a file'),
    ({'JAX_PLATFORMS': 'cuda'}, 'not on CPU'),
    ({'JAX_PLATFORMS': 'tpu,cpu'}, 'not on CPU'),
    ({'JAX_PLATFORM_NAME': 'gpu'}, 'not on CPU'),
  ],
)
def test_nothing_is_changed(environment, reason):
  before = dict(environment)
  assert set_flags(environment) == f'XLA flags: none added ({reason})'
  assert environment == before


def test_a_plugin_that_may_work_counts_unless_cpu_is_chosen(monkeypatch):
  monkeypatch.setattr(installed, 'plugin_modules', lambda: {'another'})
  assert 'not on CPU' in set_flags({})
  assert FLAGS in set_flags({'JAX_PLATFORMS': 'cpu'})


def test_no_flag_that_its_trial_refuses(monkeypatch):
  tried = []
  monkeypatch.setattr(xla_flags.trials, 'objection', lambda *trial: tried.append(trial) or 'no')
  environment: dict[str, str] = {}
  assert set_flags(environment) == 'XLA flags: none added (no)'
  assert environment == {}
  assert [(name, flags) for name, _, flags in tried] == [('xla_flags', FLAGS)]


def test_no_flag_on_a_machine_on_which_it_was_not_measured(monkeypatch):
  monkeypatch.setattr(xla_flags.platform, 'machine', lambda: 'riscv64')
  assert 'riscv64' in set_flags({})


def test_the_trial_notices_wrong_sums(monkeypatch):
  exec(xla_flags._TRIAL, {})
  monkeypatch.setattr(jax, 'jit', lambda function: lambda a, b: function(1.1 * a, b))
  with pytest.raises(AssertionError):
    exec(xla_flags._TRIAL, {})


def test_flags_are_accepted_by_the_installed_jax_and_set_without_importing_it():
  """An unknown flag would end the process."""
  program = (
    'import sys; from cifar_jax.startup.xla_flags import set_flags; line = set_flags();'
    'assert "jax" not in sys.modules and "numpy" not in sys.modules;'
    'import jax.numpy as jnp; print(line, float(jnp.ones(3).sum()))'
  )
  environment = {**os.environ, 'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': ''}
  result = subprocess.run(
    [sys.executable, '-c', program], env=environment, capture_output=True, text=True, check=False
  )
  assert result.returncode == 0, result.stderr
  assert result.stdout.strip().endswith('3.0')
