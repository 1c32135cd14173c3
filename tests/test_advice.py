"""Options that messages and texts of the package name exist, and values that they name are taken.

The texts are read from the source, so a new message is held to it too.
"""

import ast
import inspect
import pathlib
import re
from collections.abc import Iterator

import pytest

import cifar_jax
from cifar_jax import config as configs
from cifar_jax.models import registry
from configs import base

pytestmark = pytest.mark.filterwarnings('ignore:the load_module:DeprecationWarning')
PACKAGE = pathlib.Path(cifar_jax.__file__).parent
_FILLED_IN = '\0'  # stands for what a message is completed with
_OPTION = re.compile(r"--config\.((?:\w+\.)*\w+)(?![\w.]*\0)(?:=([\w.]+|'\w+'|'\([^']*\)'))?(?!\0)")
_PLACEHOLDERS = {'KEY'}


def texts() -> Iterator[tuple[str, str]]:
  """(name of the file, text) of every string in the package."""
  for path in sorted(PACKAGE.rglob('*.py')):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.JoinedStr):
        parts = [v.value if isinstance(v, ast.Constant) else _FILLED_IN for v in node.values]
        yield path.name, ''.join(str(part) for part in parts)
      elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield path.name, node.value


FOUND = sorted(
  {
    (name, match[1], (match[2] or '').strip("'").rstrip('.'))
    for name, text in texts()
    for match in _OPTION.finditer(text)
    if match[1] not in _PLACEHOLDERS
  }
)


def model_fields() -> set[str]:
  return {
    f'model.{field}'
    for name in registry.names()
    for field in inspect.signature(registry._CONSTRUCTORS[name]).parameters
  }


def test_enough_is_found() -> None:
  assert len(FOUND) > 100
  assert ('source.py', 'data.folder.cache', 'False') in FOUND
  assert ('recipe.py', 'data.drop_remainder', 'True') in FOUND


@pytest.mark.parametrize(('file', 'option'), sorted({(file, key) for file, key, _ in FOUND}))
def test_an_option_that_is_named_exists(file, option) -> None:
  config = base.get_config()
  options = {key for key, _ in configs.flatten(config)} | model_fields()
  sections = {key.rpartition('.')[0] for key in options} | {'optimizer.groups'}
  assert option in options | sections, file


@pytest.mark.parametrize(('file', 'option', 'value'), [found for found in FOUND if found[2]])
def test_a_value_that_is_named_is_taken(file, option, value) -> None:
  if option in dict(configs.flatten(base.get_config())):
    config = configs.load('base', [f'--config.{option}={value}'])
    if option in configs.OPTIONS:
      assert configs.OPTIONS[option].constraint.test(dict(configs.flatten(config))[option]), file
