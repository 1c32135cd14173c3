"""Reading, checking and comparing configs; every mistake becomes one line that names the flag."""

import contextlib
import importlib.util
import json
import os
import pathlib
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from cifar_jax.config.option_checks import CHECKS
from cifar_jax.config.overrides import translate
from cifar_jax.schema.registry import check_value
from cifar_jax.utils import json_files
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.files import write_json
from cifar_jax.utils.paths import user_path
from cifar_jax.utils.suggestions import nearest

CONFIG_NAME = 'config.json'
_CLONE = pathlib.Path(__file__).parent.parent.parent
_BASE = _CLONE / 'configs' / 'base.py'

# What may change between the start of a run and its continuation: nothing that alters a step
# already made.
_MAY_CHANGE = (
  'epochs',
  'max_steps',
  'parallel',
  'devices',
  'uneven_batch',
  'steps_per_dispatch',
  'tags',
  'tensorboard',
  'data.dir',
  'data.placement',
  'data.folder.cache',
  'data.folder.workers',
  'checkpoint.',
  'early_stopping.',
  'evaluate.',
  'profile.',
)


# Sections whose options depend on the rule, network or schedule that their name chooses.
_CHOSEN = ('model', 'optimizer', 'schedule', 'average')


def validate(config: ConfigDict) -> None:
  """Checks the whole config before anything starts.

  Raises:
    UserError: an unknown or missing option, a wrong type or an impossible value; the message names
      the flag.
  """
  # They import JAX, which `--help` need not wait for.
  from cifar_jax import models, optim
  from cifar_jax.optim import averaging, schedules

  present = dict(flatten(config))
  for key in present:
    if key not in CHECKS and not key.startswith(tuple(f'{section}.' for section in _CHOSEN)):
      raise UserError(f'unknown option --config.{key}{_nearest(key, CHECKS)}')
  for key, check in CHECKS.items():
    if key not in present:
      raise UserError(f'the config lacks {key}; start it from configs/base.py')
    section, _, option = key.rpartition('.')
    check_value(section, option, present[key], check)
  for section in _CHOSEN:
    if not isinstance(config.get(section), ConfigDict):
      raise UserError(f'the config lacks {section}; start it from configs/base.py')
  averaging.validate(config.average)
  for section, options in optim.options_in_use(config.optimizer).items():
    averaging.check_rule(config.average.name, section, options)
  _check_early_end(config)
  schedules.validate(config.schedule, config.epochs)
  models.create(config.model, num_classes=10)


def _check_early_end(config: ConfigDict) -> None:
  """Raises UserError where a run that may stop early needs to know its end, or cannot tell."""
  for section in ('early_stopping', 'plateau'):
    watched = config[section].patience and config[section].monitor.startswith('val_')
    if watched and not config.evaluate.every_epochs:
      raise UserError(
        f'--config.{section} watches {config[section].monitor}, which '
        '--config.evaluate.every_epochs=0 measures at the end only; use 1'
      )
  if config.early_stopping.patience and config.average.name == 'lookahead':
    raise UserError(
      "--config.average.name='lookahead' acts at the end of the run, which "
      "--config.early_stopping.patience leaves open; use 'ema', or patience 0"
    )


def flatten(config: ConfigDict) -> Iterator[tuple[str, Any]]:
  """Yields ('optimizer.learning_rate', 0.001) and so on; lists become tuples."""
  for key, value in config.items():
    if isinstance(value, ConfigDict):
      yield from ((f'{key}.{inner}', leaf) for inner, leaf in flatten(value))
    else:
      yield key, _tuples(value)


def load(path: str, overrides: Sequence[str] = ()) -> ConfigDict:
  """The locked config of a file, with overrides such as '--config.epochs=3' applied."""
  argv = ['', f'--config={path}', *overrides]
  values = flags.FlagValues()
  config_flags.DEFINE_config_file('config', flag_values=values)
  parse_flags(argv, values)
  return values['config'].value


def parse_flags(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
  """Parses a command line with a --config flag.

  Raises:
    UserError: no such config file, a mistake in it, an unknown key, a value of the wrong type, an
      unknown flag, a word that belongs to none.
  """
  place = next((i for i, a in enumerate(argv) if re.match(r'--?config(=|$)', a)), None)
  path = None if place is None else _value(argv, place)
  arguments = tuple(argv)
  unset: tuple[str, ...] = ()
  if path and place is not None:
    arguments = _with_value(arguments, place, found := _find(path))
    config = _import(found)
    plain = dict(flatten(config))
    for argument in argv:
      match = re.match(r'--?(?:no)?config\.([^=]+)', argument)
      if match and match[1] not in plain:
        raise UserError(f'unknown option --config.{match[1]}{_nearest(match[1], plain)}')
    types = {key: _type(config, key) for key in plain}
    arguments, unset = translate(arguments, types, _may_be_unset)
  else:
    plain = {}
    if not any(re.match(r'--?help', argument) for argument in argv):
      raise UserError('--config is missing; for example --config=configs/cnn_adv.py')
  try:
    with _command_line(arguments):
      rest = values(arguments)
  except flags.UnrecognizedFlagError as error:
    raise UserError(f'{_one_line(error)}{_nearest(error.flagname, plain)}') from None
  except flags.IllegalFlagValueError as error:
    match = re.match(r'flag --(config\.(\S+?))=(.*?): ', str(error), re.DOTALL)
    if path and match:
      expected = _NAMES.get(types[match[2]], 'another type')
      raise UserError(f'--{match[1]} takes {expected}, not {match[3]!r}') from None
    raise UserError(_one_line(error)) from None
  except (flags.Error, TypeError, ValueError) as error:
    raise UserError(_one_line(error)) from None
  for option in unset:
    _unset(values['config'].value, option)
  if len(rest) > 1:
    raise UserError(
      f'{" ".join(rest[1:])!r} belongs to no option; options are written --config.KEY=VALUE, '
      'true and false included'
    )


def save(config: ConfigDict, run: pathlib.Path) -> None:
  """Writes the config into a run's folder, readable and reloadable."""
  write_json(run / CONFIG_NAME, json.loads(config.to_json()))


def read(run: pathlib.Path) -> ConfigDict:
  """The config that a run was started with.

  Options that are newer than the run have the value of configs/base.py: what is added to it leaves
  everything as it was.

  Raises:
    UserError: the folder is not a run's folder, or its config cannot be read.
  """
  path = run / CONFIG_NAME
  if not os.path.lexists(path):
    raise UserError(f'{run} is not the folder of a run: it has no {CONFIG_NAME}')
  content = json_files.read(path)
  try:
    config = of_json(content)
    _check_read(config)
  except (ValueError, TypeError, AttributeError, UserError) as error:
    raise json_files.damaged(path, _one_line(error)) from None
  return config


def of_json(content: Mapping[str, Any]) -> ConfigDict:
  """The locked config that was written as JSON, options that are newer than it filled in."""
  config = ConfigDict(_tuples(content))
  _fill(config, _import(str(_BASE)) if _BASE.is_file() else ConfigDict())
  return config.lock()


def _check_read(config: ConfigDict) -> None:
  """Raises UserError where what a file says is impossible; an option that is missing or that this
  version does not know is none of that.
  """
  present = dict(flatten(config))
  for section in {*_CHOSEN, *(key.rpartition('.')[0] for key in CHECKS if '.' in key)}:
    if section in present:
      raise UserError(f'{section} is {present[section]!r} and no section')
  for key, check in CHECKS.items():
    if key in present:
      section, _, option = key.rpartition('.')
      check_value(section, option, present[key], check)


def _fill(config: ConfigDict, defaults: ConfigDict) -> None:
  """Adds what is missing in a config, section by section."""
  for key in defaults:
    default = defaults[key]
    if key not in config:
      config[key] = default
    elif isinstance(default, ConfigDict) and isinstance(config[key], ConfigDict):
      _fill(config[key], default)


def check_continues(config: ConfigDict, run: pathlib.Path) -> None:
  """Raises UserError, listing the differences, if the run in the folder was started with another
  config.
  """
  if os.path.lexists(run / CONFIG_NAME):
    check_same(read(run), config, run)


def check_same(old_config: ConfigDict, config: ConfigDict, run: pathlib.Path) -> None:
  """Raises UserError, listing the differences, where a run's own config is not the given one."""
  old, new = dict(flatten(old_config)), dict(flatten(config))
  differences = [
    f'{key} was {old.get(key)!r} and is now {new.get(key)!r}'
    for key in sorted(old.keys() | new.keys())
    if old.get(key) != new.get(key) and not key.startswith(_MAY_CHANGE)
  ]
  if differences:
    raise UserError(
      f'{run} holds a run with another config: {"; ".join(differences)}; '
      'use the old values, or another --workdir for a new run'
    )


def _find(path: str) -> str:
  """Where a config file is: as given, in the clone, or in its configs by name alone.

  Raises:
    UserError: it is nowhere.
  """
  file, colon, argument = path.partition(':')
  places = [user_path(file), _CLONE / file, _BASE.parent / f'{file}.py']
  for place in places:
    if os.path.isfile(place):  # which a name too long for a file is not
      return f'{place}{colon}{argument}'
  if os.path.isdir(places[0]):
    names = sorted(entry.name for entry in places[0].glob('[!_]*.py'))
    raise UserError(
      f'--config={path} is a folder; name a file in it: {", ".join(names) or "it has none"}'
    )
  beside = places[0].parent
  if file.isidentifier():  # a name alone
    names = [entry.stem for entry in _BASE.parent.glob('[!_]*.py')]
  elif beside.is_dir() and beside != pathlib.Path():
    names = [str(beside / entry.name) for entry in beside.glob('[!_]*.py')]
  else:
    names = [f'configs/{entry.name}' for entry in _BASE.parent.glob('[!_]*.py')]
  near = nearest(file, names)
  question = f'; did you mean {near!r}?' if near else ''
  raise UserError(f'--config={path}: there is no such file{question}')


def _import(path: str) -> ConfigDict:
  """Runs a config file's get_config(); a mistake in the file becomes one line that names it."""
  file, _, argument = path.partition(':')
  if _BASE.is_file() and str(_CLONE) not in sys.path:
    sys.path.append(str(_CLONE))  # config files start from configs/base.py
  spec = importlib.util.spec_from_file_location('config_file', file)
  if spec is None or spec.loader is None:
    raise UserError(f'--config={path} is no Python file; configs are named NAME.py')
  try:
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, 'get_config'):
      raise UserError(f'{file} has no function get_config(); see configs/base.py')
    config = module.get_config(*([argument] if argument else []))
  except UserError:
    raise
  except Exception as error:
    lines = [
      f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == spec.origin
    ]
    line = lines[-1] if lines else getattr(error, 'lineno', '?')
    raise UserError(f'{file}, line {line}: {type(error).__name__}: {_one_line(error)}') from None
  if not isinstance(config, ConfigDict):
    raise UserError(f'{file}: get_config() returned no ConfigDict')
  return config


def _nearest(key: str, names: Iterable[str]) -> str:
  """'; did you mean --config.KEY?', also where only the last part of the key is right; or ''."""
  names = list(names)
  by_option = {name.rpartition('.')[2]: name for name in names}
  near = nearest(key, names) or by_option.get(nearest(key.rpartition('.')[2], by_option) or '')
  return f'; did you mean --config.{near}?' if near else ''


_NAMES = {int: 'a whole number', float: 'a number', bool: 'true or false', tuple: 'a tuple'}


def _type(config: ConfigDict, key: str) -> type:
  kind: type = config_flags.config_flags.config_path.get_type(key, config)
  return kind


def _may_be_unset(option: str) -> bool:
  """Whether None means the default of a choice that is made by name."""
  return option.startswith(tuple(f'{section}.' for section in _CHOSEN)) and not option.endswith(
    '.name'
  )


def _unset(config: ConfigDict, option: str) -> None:
  section, _, name = option.rpartition('.')
  with config.ignore_type():
    config[section][name] = None


@contextlib.contextmanager
def _command_line(arguments: Sequence[str]) -> Iterator[None]:
  """Lets ml_collections, which reads the process's own arguments, find these."""
  own = sys.argv
  sys.argv = list(arguments)
  try:
    yield
  finally:
    sys.argv = own


def _with_value(arguments: tuple[str, ...], index: int, value: str) -> tuple[str, ...]:
  """The arguments with another value of the flag at an index, given as --flag=X or --flag X."""
  flag, equals, _ = arguments[index].partition('=')
  rest = arguments[index + 1 :] if equals else arguments[index + 2 :]
  return (*arguments[:index], f'{flag}={value}', *rest)


def _value(argv: Sequence[str], index: int) -> str | None:
  _, equals, value = argv[index].partition('=')
  if equals:
    return value
  return argv[index + 1] if index + 1 < len(argv) else None


def _tuples(value: Any) -> Any:
  if isinstance(value, list | tuple):
    return tuple(_tuples(item) for item in value)
  if isinstance(value, dict):
    return {key: _tuples(item) for key, item in value.items()}
  return value


def _one_line(error: BaseException) -> str:
  return ' '.join(str(error).split())
