"""Things chosen by name in a config section, with the options each of them accepts.

A section such as `config.optimizer` holds a `name` and the options of *every* choice; an option
left at None means "the default of the named choice".
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from ml_collections import ConfigDict

from cifar_jax.schema.options import REQUIRED, Option, options_of
from cifar_jax.utils.errors import UserError
from cifar_jax.utils.suggestions import nearest

T = TypeVar('T')


class Registry(Mapping[str, type[T]], Generic[T]):
  """Name -> the dataclass, whose fields are options, of what is chosen by it."""

  def __init__(self, section: str):
    self.section = section
    self._choices: dict[str, type[T]] = {}

  def __getitem__(self, name: str) -> type[T]:
    return self._choices[name]

  def __iter__(self) -> Iterator[str]:
    return iter(self._choices)

  def __len__(self) -> int:
    return len(self._choices)

  def register(self, name: str) -> Callable[[type[T]], type[T]]:
    """Returns a decorator that makes a class a frozen dataclass, and the choice of a name."""

    def add(choice: type[T]) -> type[T]:
      self._choices[name] = dataclasses.dataclass(frozen=True, kw_only=True)(choice)
      return choice

    return add

  def options(self) -> dict[str, Option]:
    """The options of all choices together, each as it is first declared."""
    found: dict[str, Option] = {}
    for choice in self._choices.values():
      for name, option in options_of(choice).items():
        found.setdefault(name, option)
    return found

  def resolve(self, config: ConfigDict | Mapping[str, Any], section: str = '') -> T:
    """Reads a config section.

    Args:
      config: The section: `name` and options, None where not set.
      section: Its name in messages, where that is not the registry's own.

    Returns:
      The named choice with a value for each of its options: the user's or the default.

    Raises:
      UserError: An unknown name, an option set that the choice does not take, a required option
        not set, an impossible value.
    """
    section = section or self.section
    name: Any = config.get('name')
    if name is None:
      raise UserError(f'--config.{section}.name is not set; it is one of {", ".join(sorted(self))}')
    if name not in self._choices:
      raise _unknown_name(section, name, self)
    choice = self._choices[name]
    options = options_of(choice)
    given = {key: value for key, value in config.items() if key != 'name' and value is not None}
    for key, value in given.items():
      if key not in options:
        raise UserError(
          f"{section} '{name}' takes no --config.{section}.{key}; "
          f'it takes {", ".join(options) or "no options"}; '
          f'--config.{section}.{key}=None unsets it'
        )
      options[key].constraint.check(f'{section}.{key}', value)
    for key, option in options.items():
      if option.default is REQUIRED and key not in given:
        raise UserError(f"{section} '{name}' needs --config.{section}.{key}")
    return choice(**given)


def _unknown_name(section: str, name: Any, names: Iterable[str]) -> UserError:
  names = sorted(names)
  near = nearest(str(name).lower(), names)
  question = f" did you mean '{near}'?" if near else ''
  return UserError(
    f"--config.{section}.name '{name}' is unknown;{question} it is one of {', '.join(names)}"
  )
