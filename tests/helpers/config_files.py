"""Config files and configs with one thing changed, and the sentence that a mistake is told by."""

import functools
import pathlib
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from ml_collections import ConfigDict

from cifar_jax import config as configs
from cifar_jax.utils.errors import UserError
from tests.helpers import REPOSITORY

SHIPPED = sorted((REPOSITORY / 'configs').glob('[a-z]*.py'))
ADV = str(REPOSITORY / 'configs' / 'cnn_adv.py')


@functools.cache
def _adv() -> ConfigDict:
  return configs.load(ADV)


def with_value(key: str, value: Any) -> ConfigDict:
  """configs/cnn_adv.py with one value, of any type, set past the config's own checks."""
  config = ConfigDict(_adv().copy_and_resolve_references())
  section, _, option = key.rpartition('.')
  with config.unlocked(), config.ignore_type():
    (config[section] if section else config)[option] = value
  return config.lock()


def without(key: str) -> ConfigDict:
  config = ConfigDict(_adv().copy_and_resolve_references())
  section, _, option = key.rpartition('.')
  with config.unlocked():
    del (config[section] if section else config)[option]
  return config.lock()


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
  message = str(error.value)
  assert message
  assert '\n' not in message
  assert 'Traceback' not in message
  return message


def mistake(function: Callable[[], object]) -> str | None:
  """The sentence of the UserError that a call ends with, if it does; other errors pass."""
  try:
    function()
  except UserError as error:
    return str(error)
  return None


def write(folder: pathlib.Path, body: str) -> str:
  """A config file whose get_config() starts from the base; returns its path."""
  path = folder / 'mine.py'
  head = 'from configs import base\n\ndef get_config():\n  config = base.get_config()\n'
  path.write_text(head + textwrap.indent(textwrap.dedent(body), '  '))
  return str(path)


def plain(config: ConfigDict) -> dict[str, Any]:
  return dict(configs.flatten(config))
