"""Things chosen by name in a config section, with the options each of them accepts.

A section such as `config.optimizer` holds a `name` and the options of *every* choice; an option
left at None means "the default of the named choice". `resolve` turns such a section into the chosen
function and its complete options, and every mistake into one sentence: an unknown name, an option
that the choice does not take, an impossible value.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import nearest

REQUIRED: Any = object()  # in `Choice.options`: there is no sensible default, the user must set it


@dataclasses.dataclass(frozen=True)
class Choice:
  """One entry of a registry: what builds it, and the options it accepts with their defaults."""

  build: Callable[..., Any]
  options: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Check:
  """What an option's value must be: a test and its wording, as in 'a number above 0'."""

  holds: Callable[[Any], bool]
  wording: str


def is_number(value: Any) -> bool:
  """Whether `value` is a finite int or float (a bool is neither)."""
  return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


POSITIVE = Check(lambda value: is_number(value) and value > 0, 'a number above 0')
NOT_NEGATIVE = Check(lambda value: is_number(value) and value >= 0, 'a number not below 0')
BELOW_ONE = Check(lambda value: is_number(value) and 0 <= value < 1, 'a number in [0, 1)')
BOOLEAN = Check(lambda value: isinstance(value, bool), 'True or False')


def unknown_name(section: str, name: Any, names: Iterable[str]) -> UserError:
  """The error for a `name` that is not among `names`, with the nearest right one if any is near."""
  names = sorted(names)
  near = nearest(str(name).lower(), names)
  question = f" did you mean '{near}'?" if near else ''
  return UserError(
    f"--config.{section}.name '{name}' is unknown;{question} it is one of {', '.join(names)}"
  )


def check_value(section: str, option: str, value: Any, check: Check) -> None:
  """Raises UserError, naming the flag, unless `check` holds for `value`."""
  if not check.holds(value):
    flag = f'{section}.{option}' if section else option
    raise UserError(f'--config.{flag} must be {check.wording}, not {value!r}')


def resolve(
  section: str,
  config: ConfigDict | Mapping[str, Any],
  choices: Mapping[str, Choice],
  checks: Mapping[str, Check],
) -> tuple[Choice, dict[str, Any]]:
  """Reads a config section.

  Args:
    section: the section's name in the config, as 'optimizer'; used in messages.
    config: the section: `name` and options, None where not set.
    choices: what can be named.
    checks: what the value of each option must be; an option without an entry is not checked.

  Returns:
    The named choice and a value for each option it accepts: the user's or the default.

  Raises:
    UserError: for an unknown name, an option set that the choice does not take, a required option
      not set, an impossible value.
  """
  name: Any = config.get('name')
  if name is None:
    raise UserError(
      f'--config.{section}.name is not set; it is one of {", ".join(sorted(choices))}'
    )
  if name not in choices:
    raise unknown_name(section, name, choices)
  choice = choices[name]
  given = {
    option: value for option, value in config.items() if option != 'name' and value is not None
  }
  for option, value in given.items():
    if option not in choice.options:
      raise UserError(
        f"{section} '{name}' takes no --config.{section}.{option}; "
        f'it takes {", ".join(choice.options) or "no options"}; '
        f'--config.{section}.{option}=None unsets it'
      )
    if option in checks:
      check_value(section, option, value, checks[option])
  for option, default in choice.options.items():
    if default is REQUIRED and option not in given:
      raise UserError(f"{section} '{name}' needs --config.{section}.{option}")
  return choice, {**choice.options, **given}
