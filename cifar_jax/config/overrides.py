"""What users write after --config.KEY=, made into what ml_collections reads.

It knows neither None nor off, and takes the keys of a dictionary for a tuple.
"""

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cifar_jax.utils.errors import UserError

_OVERRIDE = re.compile(r'--?config\.([^=]+)=(.*)', re.DOTALL)
_TRUTH = {'on': 'true', 'yes': 'true', 'off': 'false', 'no': 'false'}
_CLASS_WEIGHTS = 'loss.class_weights'


class Overrides(NamedTuple):
  """A command line that ml_collections can read.

  Attributes:
    arguments: The command line without what unsets an option, its values rewritten.
    unset: The options to be set to None after that.
  """

  arguments: tuple[str, ...]
  unset: tuple[str, ...]


def translate(arguments: Sequence[str], types: Mapping[str, type], may_be_unset: Any) -> Overrides:
  """Rewrites the overrides of a command line.

  None, and '' where that is no value itself, unsets an option that may be unset; on, yes, off and
  no are booleans; a dictionary of class weights is taken by its keys.

  Args:
    arguments: The whole command line.
    types: option -> type of its value; only options that are here are rewritten.
    may_be_unset: option -> whether None is a value of it.

  Raises:
    UserError: a dictionary or a set in place of a tuple.
  """
  rewritten: list[str] = []
  last: dict[str, bool] = {}  # option -> whether the last of its overrides unsets it
  for argument in arguments:
    match = _OVERRIDE.fullmatch(argument)
    if not match or match[1] not in types:
      rewritten.append(argument)
      continue
    option, text = match.groups()
    kind = types[option]
    unsets = text == 'None' or (text == '' and kind is not str)
    last[option] = unsets and may_be_unset(option)
    if last[option]:
      continue
    if kind is bool:
      text = _TRUTH.get(text.lower(), text)
    elif kind is tuple:
      text = _tuple_text(option, text)
    rewritten.append(f'--config.{option}={text}')
  return Overrides(tuple(rewritten), tuple(option for option, unsets in last.items() if unsets))


def _tuple_text(option: str, text: str) -> str:
  if option == _CLASS_WEIGHTS and text.strip('\'"') == 'balanced':
    return repr((text.strip('\'"'),))
  try:
    value = ast.literal_eval(text)
  except (ValueError, SyntaxError, MemoryError, RecursionError):
    return text  # a word, or a mistake that the parser of tuples names
  if isinstance(value, dict) and option == _CLASS_WEIGHTS:
    return repr(by_class(value))
  if isinstance(value, dict | set):
    raise UserError(
      f'--config.{option} takes a tuple, whose order counts, as in (1, 2), not {text!r}'
    )
  return text


def by_class(weights: Mapping[Any, Any]) -> tuple[Any, ...]:
  """The class weights of a dictionary, Keras's form: class -> weight.

  Raises:
    UserError: its keys are not the classes 0, 1, ... up to the last one.
  """
  classes = range(len(weights))
  if any(isinstance(key, bool) or not isinstance(key, int) for key in weights) or (
    set(weights) != set(classes)
  ):
    raise UserError(
      f'--config.{_CLASS_WEIGHTS} as a dictionary has a weight for each class 0, 1, ... as in '
      f'{{0: 1.0, 1: 3.0}}, not {dict(weights)!r}'
    )
  return tuple(weights[label] for label in classes)
