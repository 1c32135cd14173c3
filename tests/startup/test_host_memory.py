import ctypes
import subprocess
import sys

import pytest

from cifar_jax.startup import host_memory
from cifar_jax.startup.host_memory import configure_malloc

GLIBC = sys.platform.startswith('linux') and hasattr(ctypes.CDLL(None), 'gnu_get_libc_version')

# Allocates and frees 64 MB ten times in a thread, as XLA does, and counts the pages handed out.
PROGRAM = """
import resource, sys, threading
from cifar_jax.startup.host_memory import configure_malloc
done = configure_malloc({'JAX_PLATFORMS': 'cpu', 'CIFAR_JAX_KEEP_MEMORY': sys.argv[1]})

def work():
  for _ in range(10):
    bytearray(64 << 20)

work()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
thread = threading.Thread(target=work)
thread.start()
thread.join()
print(done, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not GLIBC, reason='only for the GNU C library')
def test_freed_memory_is_used_again_without_page_faults():
  def run(mode: str) -> tuple[bool, int]:
    output = subprocess.run(
      [sys.executable, '-c', PROGRAM, mode], capture_output=True, text=True, check=True
    ).stdout.split()
    return output[0] == 'True', int(output[1])

  (kept, faults), (off, usual) = run('on'), run('off')
  assert kept
  assert not off
  # 16,384 pages of 4 kB in each of ten rounds, or fewer and larger ones.
  assert faults < usual / 10


def test_off_switch_and_other_systems(monkeypatch):
  assert not configure_malloc({'JAX_PLATFORMS': 'cpu', 'CIFAR_JAX_KEEP_MEMORY': 'off'})
  monkeypatch.setattr(sys, 'platform', 'darwin')
  assert not configure_malloc({'JAX_PLATFORMS': 'cpu'})


@pytest.mark.parametrize('platforms', ['cuda', 'tpu,cpu'])
def test_nothing_is_kept_for_an_accelerator(platforms, monkeypatch):
  """It was: XLA keeps its arrays elsewhere then, and the threads that compile shared one heap."""
  monkeypatch.setattr(host_memory.ctypes, 'CDLL', lambda name: pytest.fail('the allocator was set'))
  assert not host_memory.configure_malloc({'JAX_PLATFORMS': platforms})


@pytest.mark.skipif(not GLIBC, reason='only for the GNU C library')
def test_memory_can_be_given_back_all_the_same():
  program = """
import pathlib, re
from cifar_jax.startup import host_memory
def resident():
  return int(re.search(r'VmRSS:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])
assert host_memory.configure_malloc({'JAX_PLATFORMS': 'cpu'})
bytearray(64 << 20)
kept = resident()
assert host_memory.give_back()
print(kept - resident())
"""
  process = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True, check=True
  )
  assert int(process.stdout) > 60_000  # kB


@pytest.mark.skipif(not GLIBC, reason='only for the GNU C library')
def test_large_blocks_are_handed_back_or_kept_as_asked_last():
  program = """
import pathlib, re
from cifar_jax.startup import host_memory
def resident():
  return int(re.search(r'VmRSS:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])
def left():
  before = resident()
  bytearray(128 << 20)
  return resident() - before
host_memory.keep_large_blocks(False)  # nothing, before the allocator is ours
assert host_memory.configure_malloc({'JAX_PLATFORMS': 'cpu'})
kept = left()
before = resident()
host_memory.keep_large_blocks(False)
print(kept, before - resident(), left())
host_memory.keep_large_blocks(True)
print(left())
"""
  process = subprocess.run(
    [sys.executable, '-c', program], capture_output=True, text=True, check=True
  )
  kept, given_back, mapped, kept_again = map(int, process.stdout.split())
  assert min(kept, given_back, kept_again) > 120_000  # kB
  assert mapped < 10_000


@pytest.mark.parametrize(('platforms', 'how'), [('cpu', 'off'), ('cuda', 'on')])
def test_an_allocator_that_is_not_ours_stays_as_it_is(monkeypatch, platforms, how):
  monkeypatch.setattr(host_memory, '_is_set', False)
  configure_malloc({'JAX_PLATFORMS': platforms, 'CIFAR_JAX_KEEP_MEMORY': how})
  monkeypatch.setattr(host_memory.ctypes, 'CDLL', lambda name: pytest.fail('the allocator was set'))
  for keep in (True, False):
    host_memory.keep_large_blocks(keep)
