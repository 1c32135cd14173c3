"""Real data, where it is at hand."""

import os
import pathlib

import pytest


def _folder(name: str) -> pathlib.Path:
  """A folder in $CIFAR_JAX_DATA; skips without it."""
  data = os.environ.get('CIFAR_JAX_DATA')
  if not data or not (pathlib.Path(data) / name).is_dir():
    pytest.skip(f'needs {name} in $CIFAR_JAX_DATA')
  return pathlib.Path(data) / name


@pytest.fixture(scope='session')
def cifar10() -> pathlib.Path:
  return _folder('cifar-10-batches-py')


@pytest.fixture(scope='session')
def photographs() -> pathlib.Path:
  """train|validation / cats|dogs."""
  return _folder('catsdogs')
