"""What a notebook's runtime gets installed, without installing anything."""

import importlib.metadata
import pathlib
import signal
import subprocess
import sys

import pytest

from cifar_jax.startup import accelerators, installed, notebook
from cifar_jax.startup.accelerators import Accelerator
from cifar_jax.utils.errors import UserError
from tests.helpers import fake_machine

GPU = Accelerator('cuda', 'Tesla T4', '/dev/nvidia0')
TPU = Accelerator('tpu', 'TPU v5e', 'PCI 0000:00:04.0')


def _install_toolkit(folder: pathlib.Path, root: pathlib.Path) -> None:
  """Puts the metadata of the toolkit into a folder, installed from a repository."""
  fake_machine.install(folder, cifar_jax='0.1.0')
  (folder / 'cifar_jax-0.1.0.dist-info' / 'direct_url.json').write_text(
    f'{{"url": "{root.as_uri()}"}}'
  )


@pytest.mark.parametrize(
  ('found', 'plugin', 'extra'),
  [
    ([], None, ''),
    ([GPU], None, 'cuda12'),
    ([GPU], 'cuda12', 'cuda12'),
    ([GPU], 'cuda13', 'cuda13'),
    ([TPU], None, 'tpu'),
    ([TPU], 'cuda12', 'tpu'),
  ],
)
def test_the_extra_is_that_of_the_accelerator(found, plugin, extra, monkeypatch) -> None:
  plugins = {plugin: {}} if plugin else {}
  monkeypatch.setattr(installed, 'plugins', lambda platform: plugins)
  assert notebook.extra_for(found) == extra


def test_another_clone_or_none_has_to_be_installed(tmp_path, monkeypatch) -> None:
  root = tmp_path / 'clone'
  monkeypatch.setattr(sys, 'path', [str(tmp_path)])
  assert notebook.needs_installation([], root)
  _install_toolkit(tmp_path, root)
  assert not notebook.needs_installation([], root)
  assert notebook.needs_installation([], tmp_path / 'other')
  assert notebook.needs_installation([], tmp_path / 'clon')  # another folder, of like name
  # What an installation leaves in the repository itself, which the notebook looks through first.
  (root / 'cifar_jax.egg-info').mkdir(parents=True)
  (root / 'cifar_jax.egg-info' / 'PKG-INFO').write_text('Name: cifar_jax\nVersion: 0.1.0\n')
  monkeypatch.setattr(sys, 'path', [str(root), str(tmp_path)])
  assert not notebook.needs_installation([], root)
  monkeypatch.setattr(sys, 'path', [str(root)])
  assert notebook.needs_installation([], root)


def test_a_plugin_of_another_version_is_reason_to_install(tmp_path, monkeypatch) -> None:
  root = tmp_path / 'clone'
  monkeypatch.setattr(sys, 'path', [str(tmp_path)])
  _install_toolkit(tmp_path, root)
  versions = {'jax_cuda12_plugin': '0.7.2', 'jax_cuda12_pjrt': '0.7.2'}
  fake_machine.install(tmp_path, jaxlib='0.12.0', **versions)
  assert notebook.needs_installation([GPU], root)
  assert not notebook.needs_installation([], root)


def test_packages_replaced_while_in_use_are_named(monkeypatch) -> None:
  before = notebook.versions_in_use()
  assert before['numpy'] == importlib.metadata.version('numpy')
  assert notebook.changed(before) == []
  assert notebook.changed({'numpy': '1.0'}) == [f'numpy 1.0 by {before["numpy"]}']
  assert notebook.changed({'no-such-package': '1.0'}) == ['no-such-package 1.0 by none']


def test_nothing_of_it_needs_what_it_installs() -> None:
  """It works in a Python that has nothing beside its standard library."""
  code = 'import cifar_jax.startup.notebook as n; print(n.versions_in_use().keys() - {"cifar_jax"})'
  folder = pathlib.Path(__file__).parents[2]
  python = [
    sys.executable,
    '-I',
    '-S',
    '-c',
    f'import sys; sys.path.insert(0, {str(folder)!r}); {code}',
  ]
  done = subprocess.run(python, capture_output=True, text=True)
  assert (done.returncode, done.stdout.strip()) == (0, 'set()'), done.stderr


@pytest.mark.skipif(not hasattr(signal, 'SIGKILL'), reason='no such signal')
def test_restart_ends_the_process_and_shows_what_was_printed() -> None:
  code = 'from cifar_jax.startup import notebook; print("why"); notebook.restart()'
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
  assert (done.returncode, done.stdout) == (-signal.SIGKILL, 'why\n')


def test_pip_that_fails_is_one_sentence(tmp_path, monkeypatch, capsys) -> None:
  monkeypatch.setattr(accelerators, 'find', list)
  monkeypatch.setattr(notebook, 'needs_installation', lambda *_: True)
  with pytest.raises(UserError, match=r'pip install.*failed: ERROR.*not a valid editable'):
    notebook.install(tmp_path / 'no_such_folder')
  assert 'installing' in capsys.readouterr().out


@pytest.mark.parametrize(
  ('lines', 'said'),
  [
    (['error: subprocess-exited-with-error', 'note: not a problem with pip'], 'error: subprocess'),
    (['WARNING: x', 'ERROR: no such thing', 'note: y'], 'ERROR: no such thing'),
    (['killed'], 'killed'),
    ([], 'it said nothing'),
  ],
)
def test_of_what_pip_says_the_error_is_told(lines, said, monkeypatch) -> None:
  done = subprocess.CompletedProcess([], 1, '\n'.join(lines))
  monkeypatch.setattr(subprocess, 'run', lambda *_, **__: done)
  with pytest.raises(UserError, match=f'failed: {said}'):
    notebook._run_pip('x')


def test_it_stops_where_the_accelerator_would_not_be_used(tmp_path, monkeypatch) -> None:
  monkeypatch.setattr(accelerators, 'find', lambda: [GPU])
  monkeypatch.setattr(notebook, '_run_pip', lambda _: None)  # which left the old plugin there
  fake_machine.install(tmp_path, jaxlib='0.12.0', jax_cuda12_plugin='0.7.2')
  monkeypatch.syspath_prepend(tmp_path)
  with pytest.raises(UserError, match=r'Tesla T4 would be unused: .*0\.7\.2 and jaxlib of 0\.12'):
    notebook.install(tmp_path)


def test_a_notebook_shows_the_sentence_alone() -> None:
  assert UserError('what to do')._render_traceback_() == ['error: what to do']
