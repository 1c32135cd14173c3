"""Compiled programs are kept where the user wants them, or not at all."""

import jax
import pytest

from cifar_jax.trainer.build import keep_compiled_programs


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
  keep_compiled_programs()
  assert jax.config.jax_compilation_cache_dir == str(tmp_path / 'cache' / 'xla')
  assert (tmp_path / 'cache' / 'xla').is_dir()


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
