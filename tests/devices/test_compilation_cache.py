"""Compiled programs are kept where the user wants them, or not at all."""

import subprocess
import sys
import warnings

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from cifar_jax.devices.compilation_cache import keep_compiled_programs
from cifar_jax.ops import dispatch, onednn
from cifar_jax.startup import processor


@pytest.fixture
def no_chosen_cache():
  names = ('jax_compilation_cache_dir', 'jax_persistent_cache_min_compile_time_secs')
  before = {name: getattr(jax.config, name) for name in names}
  jax.config.update('jax_compilation_cache_dir', None)
  yield
  for name, value in before.items():
    jax.config.update(name, value)


@pytest.mark.usefixtures('no_chosen_cache')
def test_compiled_programs_are_kept_in_the_cache_folder(tmp_path, monkeypatch) -> None:
  monkeypatch.setenv('CIFAR_JAX_CACHE', str(tmp_path / 'cache'))
  for cores in (1, 2):  # its loops are divided among them
    monkeypatch.setattr(processor, 'cores', lambda: list(range(cores)))  # noqa: B023
    jax.config.update('jax_compilation_cache_dir', None)
    keep_compiled_programs()
    folder = tmp_path / 'cache' / 'xla' / f'{cores}_cores'
    assert jax.config.jax_compilation_cache_dir == str(folder)
    assert folder.is_dir()


@pytest.mark.usefixtures('no_chosen_cache')
def test_a_folder_chosen_by_the_user_stays(tmp_path, monkeypatch) -> None:
  monkeypatch.setenv('CIFAR_JAX_CACHE', str(tmp_path / 'cache'))
  jax.config.update('jax_compilation_cache_dir', '/mine')
  keep_compiled_programs()
  assert jax.config.jax_compilation_cache_dir == '/mine'
  assert not (tmp_path / 'cache').exists()


@pytest.mark.usefixtures('no_chosen_cache')
def test_no_cache_where_the_folder_cannot_be_made(tmp_path, monkeypatch) -> None:
  (tmp_path / 'file').write_text('')
  monkeypatch.setenv('CIFAR_JAX_CACHE', str(tmp_path / 'file'))
  keep_compiled_programs()
  assert jax.config.jax_compilation_cache_dir is None


@pytest.mark.usefixtures('no_chosen_cache')
@pytest.mark.parametrize('chosen', [False, True])
def test_a_program_that_calls_the_library_is_never_stored(tmp_path, monkeypatch, chosen) -> None:
  """Nor tried to: that ended the process on one machine. Its neighbor is, and read again."""
  if not dispatch.has_library('float32'):
    pytest.skip('no fast oneDNN on this processor')
  monkeypatch.setenv('CIFAR_JAX_CACHE', str(tmp_path))
  folder = tmp_path / 'xla' / f'{len(processor.cores())}_cores'
  if chosen:
    jax.config.update('jax_compilation_cache_dir', str(folder))
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.0)
  compilation_cache.reset_cache()
  keep_compiled_programs()
  images, kernel = jnp.ones((2, 8, 8, 16)), jnp.ones((3, 3, 16, 16))
  with warnings.catch_warnings():
    warnings.simplefilter('error')
    with_call = jax.jit(lambda x, k: onednn.conv(x, k, None, (1, 1), ((1, 1), (1, 1)), False))
    jax.block_until_ready(with_call(images, kernel))
    assert [path for path in folder.glob('*') if 'lambda' in path.name] == []
    jax.block_until_ready(jax.jit(lambda x: x @ x + 1.5)(jnp.ones((16, 16))))
  assert [path for path in folder.glob('*') if 'lambda' in path.name] != []


def test_a_process_ends_when_the_program_that_it_writes_is_written() -> None:
  code = """
import threading, time
from cifar_jax.devices import compilation_cache
from cifar_jax.startup import process
compilation_cache.keep_compiled_programs()
began = threading.Event()
def write():
  with compilation_cache._STORING:
    began.set()
    time.sleep(0.5)
    print('written', flush=True)
threading.Thread(target=write, daemon=True).start()
began.wait()
process.leave(3)
"""
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
  assert (done.returncode, done.stdout) == (3, 'written\n'), done.stderr
