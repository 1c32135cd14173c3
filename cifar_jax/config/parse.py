"""Reading a config file and the flags that change it; a mistake is one line that names the flag."""

import contextlib
import re
from collections.abc import Iterator, Sequence

from absl import flags
from ml_collections import ConfigDict, config_flags

from cifar_jax.config import checks, files, migrations
from cifar_jax.config.options import CHOSEN, OPTIONS
from cifar_jax.config.overrides import translate
from cifar_jax.utils.errors import UserError

_OVERRIDE = re.compile(r'--?(?:no)?config\.([^=]+)')
_FLAG = re.compile(r'--config\.(\w+(?:\.\w+)*)')  # in a sentence
_TYPES = {int: 'a whole number', float: 'a number', bool: 'true or false', tuple: 'a tuple'}


def load(path: str, overrides: Sequence[str] = (), option: str = '--config=') -> ConfigDict:
  """The locked config of a file, with overrides such as '--config.epochs=3' applied.

  Args:
    path: The path of the file, as the user wrote it.
    overrides: Options, as they are written on the command line.
    option: What stands there before the path, for the error sentence.

  Raises:
    UserError: No such config file, a mistake in it, an unknown option, a value of the wrong type.
      Impossible values of overrides are left to `checks.validate`.
  """
  file = files.find(path, option)
  config = override(files.import_config(file), overrides)
  check_file(config, file, overrides)
  return config


def check_file(config: ConfigDict, file: str, overrides: Sequence[str]) -> None:
  """Checks what a config has from its file; what is wrong of overrides, and of a network of the
  user's own, is left to `checks.validate`.

  Raises:
    UserError: Its sentence, after the file and the line.
  """
  try:
    checks.validate(config, import_network=False)
  except UserError as error:
    at_fault = _FLAG.findall(str(error))
    matches = map(_OVERRIDE.match, migrations.rename_in_arguments(overrides))
    overridden = {match[1] for match in matches if match}
    if at_fault and not overridden & set(at_fault):
      raise UserError(f'{files.place_of(at_fault, file)}: {error}', error.details) from None


def override(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
  """A config, which is changed and locked, with overrides such as '--config.epochs=3' applied.

  Raises:
    UserError: An unknown option, a value of the wrong type.
  """
  known = dict(checks.flatten(config))
  arguments = migrations.rename_in_arguments(overrides)
  for argument in arguments:
    match = _OVERRIDE.match(argument)
    if match and match[1] not in known:
      raise checks.unknown_option(match[1], known)
  types = {key: config_flags.config_flags.config_path.get_type(key, config) for key in known}
  translated = translate(arguments, types, _may_be_unset)
  values = flags.FlagValues()
  try:
    with _sentences():
      argv = ['', *translated.arguments]
      config_flags.DEFINE_config_dict('config', config, flag_values=values, sys_argv=argv)
      rest = values(argv)
  except flags.IllegalFlagValueError as error:
    match = re.match(r'flag --(config\.(\S+?))=(.*?): ', str(error), re.DOTALL)
    if not match:
      raise UserError(files.one_line(error)) from None
    expected = _TYPES.get(types[match[2]], 'another type')
    raise UserError(f'--{match[1]} takes {expected}, not {match[3]!r}') from None
  for option in translated.unset:
    section, _, name = option.rpartition('.')
    with config.ignore_type():
      config[section][name] = None
  _check_rest(rest)
  return config


def parse_flags(argv: Sequence[str], values: flags.FlagValues = flags.FLAGS) -> None:
  """Parses a command line without overrides.

  Raises:
    UserError: An unknown flag, a wrong value, a word that belongs to none.
  """
  if len(argv) > 1 and not argv[1].startswith('-'):
    raise UserError(
      f'{argv[1]!r} is no option, and launch.py has no verbs; python -m cifar_jax lists them'
    )
  try:
    with _sentences():
      rest = values(argv)
  except flags.IllegalFlagValueError as error:
    raise UserError(files.one_line(error)) from None
  _check_rest(rest)


@contextlib.contextmanager
def _sentences() -> Iterator[None]:
  """Makes UserErrors of the errors of flags, except of those of wrong values."""
  try:
    yield
  except flags.UnrecognizedFlagError as error:
    near = checks.did_you_mean(error.flagname, OPTIONS)
    raise UserError(f'{files.one_line(error)}{near}') from None
  except flags.IllegalFlagValueError:
    raise
  except (flags.Error, TypeError, ValueError) as error:
    raise UserError(files.one_line(error)) from None


def _check_rest(rest: Sequence[str]) -> None:
  if len(rest) > 1:
    raise UserError(
      f'{" ".join(rest[1:])!r} belongs to no option; options are written --config.KEY=VALUE, '
      'true and false included'
    )


def _may_be_unset(option: str) -> bool:
  """Whether None means the default of a choice that is made by name."""
  section, _, name = option.partition('.')
  return section in CHOSEN and name != 'name'
