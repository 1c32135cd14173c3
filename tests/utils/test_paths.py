"""Paths as users write them."""

import argparse
import pathlib

import pytest

from cifar_jax import data
from cifar_jax.commands import make_parser
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.paths import cache_folder, run_path, user_path
from configs import base


@pytest.fixture
def home(tmp_path, monkeypatch) -> pathlib.Path:
  monkeypatch.setenv('HOME', str(tmp_path))
  return tmp_path


def test_the_home_folder(home) -> None:
  assert user_path('~/runs/a') == run_path('~/runs/a') == home / 'runs/a'
  assert user_path('~') == home
  assert user_path('a/~/b') == pathlib.Path('a/~/b')
  assert user_path('~nobody_of_this_name/b') == pathlib.Path('~nobody_of_this_name/b')


def test_where_the_cache_is(monkeypatch) -> None:
  monkeypatch.setenv('CIFAR_JAX_CACHE', '/a')
  monkeypatch.setenv('XDG_CACHE_HOME', '/b')
  monkeypatch.setenv('HOME', '/c')
  assert cache_folder() == pathlib.Path('/a')
  monkeypatch.delenv('CIFAR_JAX_CACHE')
  assert cache_folder() == pathlib.Path('/b/cifar_jax')
  monkeypatch.delenv('XDG_CACHE_HOME')
  assert cache_folder() == pathlib.Path('/c/.cache/cifar_jax')


@pytest.mark.parametrize('path', ['x' * 5000, f'/tmp/{"é" * 200}/b'])
def test_names_that_are_too_long(path) -> None:
  with pytest.raises(UserError, match=r'is no path that can be used: File name too long$') as error:
    user_path(path)
  assert len(str(error.value)) < 300


def test_a_run_needs_a_name_in_utf_8(tmp_path) -> None:
  """Images may lie anywhere."""
  odd = f'{tmp_path}/\udcff'
  assert user_path(odd) == pathlib.Path(odd)
  with pytest.raises(UserError, match=r'is no folder of a run: its name is not UTF-8') as error:
    run_path(odd)
  str(error.value).encode('ascii')  # can be shown anywhere


@pytest.mark.parametrize(
  ('arguments', 'name'),
  [
    (['evaluate', '~/a'], 'run'),
    (['report', '~/a'], 'run'),
    (['predict', '~/a', 'b.png'], 'run'),
    (['serve', '~/a'], 'run'),
    (['compare', 'runs', '--html=~/a'], 'html'),
    (['data', '--out=~/a'], 'out'),
    (['data', 'organize', '~/a', 'b', '--class=a=b'], 'flat'),
    (['data', 'organize', 'b', '~/a', '--class=a=b'], 'out'),
  ],
)
def test_the_commands_know_the_home_folder(home, arguments, name) -> None:
  assert getattr(make_parser().parse_args(arguments), name) == home / 'a'


def test_every_path_of_a_command_is_read_by_the_same_functions() -> None:
  """A plain pathlib.Path would take '~' for a folder of that name."""

  def actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    found = []
    for action in parser._actions:
      if isinstance(action, argparse._SubParsersAction):
        found += [inner for verb in action.choices.values() for inner in actions(verb)]
      else:
        found.append(action)
    return found

  assert not [action.dest for action in actions(make_parser()) if action.type is pathlib.Path]


def test_data_below_the_home_folder(home) -> None:
  config = base.get_config().data
  config.dir = '~/nothing.npz'
  with pytest.raises(UserError, match=r'--config\.data\.dir=~/nothing\.npz does not exist'):
    data.load(config)
  config.dir = 'x' * 5000
  with pytest.raises(UserError, match='is no path that can be used'):
    data.load(config)
