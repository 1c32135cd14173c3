"""The package as pip installs it has the zoo in it."""

import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest
from PIL import Image

from cifar_jax.zoo import entries
from tests.helpers import REPOSITORY

pytestmark = pytest.mark.slow


def run(folder: pathlib.Path, *words: str, site: pathlib.Path | None = None) -> str:
  environment = {**os.environ, 'PYTHONPATH': str(site or ''), 'PYTHONDONTWRITEBYTECODE': '1'}
  process = subprocess.run(
    [sys.executable, '-P', *words], cwd=folder, env=environment, capture_output=True, text=True
  )
  assert process.returncode == 0, process.stderr
  return process.stdout


def test_what_a_wheel_holds_recognizes_a_picture(tmp_path) -> None:
  if int(importlib.metadata.version('setuptools').partition('.')[0]) < 77:
    pytest.skip('building needs setuptools 77')
  source, site = tmp_path / 'source', tmp_path / 'site'
  source.mkdir()
  for name in ('pyproject.toml', 'README.md', 'LICENSE'):
    shutil.copy(REPOSITORY / name, source)
  ignored = shutil.ignore_patterns('__pycache__')
  shutil.copytree(REPOSITORY / 'cifar_jax', source / 'cifar_jax', ignore=ignored)
  options = ('--no-deps', '--no-build-isolation', '--quiet', f'--wheel-dir={tmp_path}')
  run(tmp_path, '-m', 'pip', 'wheel', *options, str(source))
  (wheel,) = tmp_path.glob('*.whl')
  with zipfile.ZipFile(wheel) as archive:
    archive.extractall(site)
  for name in entries.names():
    for path in entries.find(name).iterdir():
      packed = site / 'cifar_jax' / 'zoo' / name / path.name
      assert packed.read_bytes() == path.read_bytes()
  before = sorted(site.rglob('*'))
  Image.new('RGB', (32, 32), 'red').save(tmp_path / 'red.png')
  command = ('-m', 'cifar_jax')
  line = run(tmp_path, *command, 'predict', 'zoo:quickstart', 'red.png', '--top=1', site=site)
  assert line.startswith('red.png  ')
  assert 'fast90' in run(tmp_path, *command, 'zoo', 'list', site=site)
  place = 'import cifar_jax; print(cifar_jax.__path__[0])'
  assert run(tmp_path, '-c', place, site=site).startswith(str(site))
  assert sorted(site.rglob('*')) == before
