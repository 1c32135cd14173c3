"""Stand-ins for the programs that the doctor runs."""

import pathlib

import pytest

from cifar_jax.commands.doctor import child, training
from cifar_jax.startup import accelerators


@pytest.fixture
def nothing_remembered(monkeypatch):
  for function in (accelerators.nvidia_smi, child.probe, training._ten_steps):
    function.cache_clear()
  monkeypatch.delenv('JAX_PLATFORMS', raising=False)
  yield
  for function in (accelerators.nvidia_smi, child.probe, training._ten_steps):
    getattr(function, 'cache_clear', lambda: None)()


@pytest.fixture
def answers(monkeypatch):
  """Sets what the programs that use JAX say, and notes how they are started."""
  started = []

  def answer(probe: child.Answer, **trained: child.Answer) -> list:
    def ask(module, arguments, seconds, variables):
      started.append((module, arguments[1:], dict(variables)))
      if module == 'probe':
        return probe
      (pathlib.Path(arguments[0]) / 'cpu.npz').touch()
      return trained[arguments[1]]

    monkeypatch.setattr(child, 'ask', ask)
    return started

  return answer
