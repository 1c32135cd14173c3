"""Config files: finding one, and running its get_config()."""

import ast
import contextlib
import importlib.util
import os
import pathlib
import re
import sys
import traceback
import types
from collections.abc import Iterator, Sequence
from typing import Any

from ml_collections import ConfigDict

from cifar_jax.config import defaults, migrations
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.paths import user_path
from cifar_jax.utils.suggestions import nearest

_CLONE = pathlib.Path(__file__).parents[2]
_SHIPPED = _CLONE / 'configs'


# A file, which a drive of Windows may come before, and the argument of its get_config().
_PARTS = re.compile(r'((?:[a-z]:(?=[\\/]))?[^:]*)(?::(.*))?', re.IGNORECASE | re.DOTALL)


def split(path: str) -> tuple[str, str]:
  """The file and the argument of 'FILE:ARGUMENT'; the argument is '' where there is none."""
  match = _PARTS.fullmatch(path)
  assert match, path
  return match[1], match[2] or ''


def name_of(path: str) -> str:
  """What runs of a config file are called by default."""
  return pathlib.PurePath(split(path)[0]).stem


def find(path: str, option: str = '--config=') -> str:
  """Where a config file is: as given, in the clone, or in its configs by name alone.

  Args:
    path: What the user wrote.
    option: What stands before it on the command line, for the error sentence.

  Raises:
    UserError: It is nowhere.
  """
  file, argument = split(path)
  places = [user_path(file), _CLONE / file, _SHIPPED / f'{file}.py']
  if file in ('base', 'configs/base.py'):  # which is there without a clone too
    places.append(pathlib.Path(defaults.__file__))
  for place in places:
    if os.path.isfile(place):  # which a name too long for a file is not
      return f'{place}:{argument}' if argument else str(place)
  if os.path.isdir(places[0]):
    names = sorted(entry.name for entry in places[0].glob('[!_]*.py'))
    raise UserError(
      f'{option}{path or "."} is a folder; name a file in it: {", ".join(names) or "it has none"}'
    )
  beside = places[0].parent
  if file.isidentifier():  # a name alone
    names = [entry.stem for entry in _SHIPPED.glob('[!_]*.py')]
  elif beside.is_dir() and beside != pathlib.Path():
    names = [str(beside / entry.name) for entry in beside.glob('[!_]*.py')]
  else:
    names = [f'configs/{entry.name}' for entry in _SHIPPED.glob('[!_]*.py')]
  near = nearest(file, names)
  question = f'; did you mean {near!r}?' if near else ''
  raise UserError(f'{option}{path}: there is no such file{question}')


def import_config(path: str) -> ConfigDict:
  """Runs the get_config() of the file at a path, which may end in ':' and an argument of it.

  Raises:
    UserError: A mistake in the file; the message names the line.
  """
  file, argument = split(path)
  return call_get_config(import_file(file), *([argument] if argument else []))


def import_file(file: str) -> types.ModuleType:
  """The module of a config file, which has a get_config().

  Raises:
    UserError: A mistake in the file; the message names the line.
  """
  _offer_modules()
  spec = importlib.util.spec_from_file_location('config_file', file)
  if spec is None or spec.loader is None:
    raise UserError(f'{file} is no Python file; configs are named NAME.py')
  module = importlib.util.module_from_spec(spec)
  with _mistakes_in(file):
    spec.loader.exec_module(module)
  if not hasattr(module, 'get_config'):
    raise UserError(f'{file} has no function get_config(); see configs/base.py')
  return module


def call_get_config(
  module: types.ModuleType, *arguments: Any, passing: tuple[type[Exception], ...] = ()
) -> ConfigDict:
  """What the get_config() of a config file makes of some arguments.

  Args:
    module: What `import_file` returned.
    arguments: What get_config() is given.
    passing: What it raises that is no mistake of the file, and goes on.

  Raises:
    UserError: A mistake in the file; the message names the line.
  """
  file = str(module.__file__)
  with _mistakes_in(file, passing):
    config = module.get_config(*arguments)
  if not isinstance(config, ConfigDict):
    raise UserError(f'{file}: get_config() returned no ConfigDict')
  migrations.rename_in_config(config)
  return config


@contextlib.contextmanager
def _mistakes_in(file: str, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
  """Makes a UserError that names the line of what a file's code raises."""
  raised: tuple[type[Exception], ...] = (UserError, *passing)
  try:
    yield
  except raised:
    raise
  except (Exception, SystemExit) as error:
    # The path of a module is absolute, whatever it was imported by.
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == os.path.abspath(file)]
    line = lines[-1] if lines else getattr(error, 'lineno', '?')
    text = _text_of(error)
    if isinstance(error, AttributeError | KeyError):
      text += migrations.renamed_in(text)
    raise UserError(f'{file}, line {line}: {type(error).__name__}: {text}') from None


def _text_of(error: BaseException) -> str:
  """The message of what a config file raised; ml_collections puts a KeyError, whose message is in
  quotes, into an AttributeError.
  """
  while isinstance(error, AttributeError | KeyError) and error.args:
    if not isinstance(error.args[0], BaseException):
      return ' '.join(str(error.args[0]).split())
    error = error.args[0]
  return one_line(error)


def place_of(options: Sequence[str], path: str) -> str:
  """Where a config file sets the first of some options that it sets: 'FILE, line 3'; 'FILE' where
  that is not in its text, as of what it has from another file.

  Args:
    options: As 'model.widths'.
    path: As of `import_config`.
  """
  file, _ = split(path)
  tree = ast.parse(pathlib.Path(file).read_bytes())
  for option in (name for new in options for name in (new, *migrations.old_names(new))):
    *_, name = option.split('.')
    lines: list[tuple[bool, int]] = []  # that of config.SECTION.NAME before others
    for node in ast.walk(tree):
      match node:
        case ast.Attribute(attr=attribute, ctx=ast.Store()) if attribute == name:
          lines.append((not ast.unparse(node).endswith(f'.{option}'), node.lineno))
        case ast.keyword(arg=word) | ast.Constant(value=word) if word == name:
          lines.append((True, node.lineno))
    if lines:
      return f'{file}, line {min(lines)[1]}'
  return file


def _offer_modules() -> None:
  """Lets a config file anywhere say `from configs import base`, in a clone and without one, and
  name modules in the current folder, which `python FOLDER/launch.py` does not look into by itself.
  """
  if '' not in sys.path and os.getcwd() not in sys.path:
    sys.path.append(os.getcwd())
  if _SHIPPED.is_dir():
    if str(_CLONE) not in sys.path:
      sys.path.append(str(_CLONE))
  elif 'configs' not in sys.modules and importlib.util.find_spec('configs') is None:
    package = types.ModuleType('configs')
    sys.modules.update({'configs': package, 'configs.base': defaults})
    vars(package)['base'] = defaults


def one_line(error: BaseException) -> str:
  """The message of an error without line breaks."""
  return ' '.join(str(error).split())
