"""An accelerator starts in a thread beside imports, and what fails there is told by who asks."""

import threading

import jax
import pytest

from cifar_jax.startup import accelerators, early_start


@pytest.fixture
def threads(monkeypatch) -> list[threading.Thread]:
  """Those that are started."""
  found = []
  start = threading.Thread.start

  def noted(self) -> None:
    found.append(self)
    start(self)

  monkeypatch.setattr(threading.Thread, 'start', noted)
  return found


def test_nothing_starts_where_the_cpu_is_meant(threads, monkeypatch) -> None:
  monkeypatch.setenv('JAX_PLATFORMS', 'cpu')
  early_start.start_accelerator()
  assert threads == []


def test_an_array_is_put_on_it_beside_the_caller(threads, monkeypatch) -> None:
  put, go_on = [], threading.Event()

  def device_put(value: float) -> jax.Array:
    assert go_on.wait(60)
    put.append(threading.current_thread())
    return jax.numpy.asarray(value)

  monkeypatch.setattr(early_start, 'runs_on_cpu', lambda: False)
  monkeypatch.setattr(jax, 'device_put', device_put)
  early_start.start_accelerator()
  assert put == []  # the caller has not waited
  go_on.set()
  (thread,) = threads
  thread.join(60)
  assert put == [thread]


@pytest.mark.parametrize('error', accelerators.CANNOT_START)
def test_what_fails_is_left_to_who_asks_for_devices(threads, monkeypatch, error) -> None:
  failed = []

  def device_put(value: float) -> None:
    raise error('no such platform')

  monkeypatch.setattr(early_start, 'runs_on_cpu', lambda: False)
  monkeypatch.setattr(jax, 'device_put', device_put)
  monkeypatch.setattr(threading, 'excepthook', failed.append)
  early_start.start_accelerator()
  threads[0].join(60)
  assert failed == []
