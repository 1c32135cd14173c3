"""What the value of an option may be: a test, its wording, and examples on both sides of it."""

import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any

from cifar_jax.utils.errors import UserError

_LARGEST = 2**31 - 1  # that an array of numbers can count


@dataclasses.dataclass(frozen=True)
class Constraint:
  """What a value must be.

  Attributes:
    test: Whether a value is allowed.
    description: What it must be, as in 'a number above 0'.
    kind: The type as which a command line is read.
    allowed: Examples that pass the test, extremes among them.
    refused: Examples that do not, and that users might write.
    each: What the items of a tuple must be, where a sentence of its own says so.
  """

  test: Callable[[Any], bool]
  description: str
  kind: type
  allowed: tuple[Any, ...]
  refused: tuple[Any, ...]
  each: 'Constraint | None' = None

  def check(self, option: str, value: Any) -> None:
    """Raises UserError, naming the flag of the option, unless the value is allowed."""
    if not self.test(value):
      raise UserError(f'--config.{option} must be {self.description}, not {value!r}')
    if self.each is not None:
      for item in value:
        self.each.check(option, item)


def is_number(value: Any) -> bool:
  """Whether `value` is a finite int or float (a bool is neither)."""
  return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number(
  description: str,
  test: Callable[[float], bool],
  allowed: tuple[float, ...],
  refused: tuple[float, ...] = (),
) -> Constraint:
  """A finite number that passes a test."""
  no_numbers = (math.nan, math.inf, '1', None)
  return Constraint(
    lambda value: is_number(value) and test(value),
    description,
    float,
    allowed,
    (*refused, *no_numbers),
  )


def integer(lowest: int, highest: int = _LARGEST) -> Constraint:
  """An integer between two, both included."""

  def test(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest

  return Constraint(
    test,
    f'a whole number from {lowest} to {highest}',
    int,
    (lowest, highest),
    (lowest - 1, highest + 1, 10**12, lowest + 0.5, str(lowest), None, True, math.nan),
  )


def one_of(*names: str | int) -> Constraint:
  """One of some words, or of some numbers."""
  kind, first = type(names[0]), str(names[0])
  return Constraint(
    lambda value: value in names,
    ' or '.join(repr(name) for name in names),
    kind,
    names,
    ('', first.upper() if kind is str else first, f'{first}s', None, -1, False),
  )


def regular_expression(description: str, allowed: tuple[str, ...]) -> Constraint:
  """The text of a regular expression."""

  def test(value: Any) -> bool:
    try:
      return isinstance(value, str) and bool(re.compile(value))
    except (re.error, RecursionError, OverflowError):
      return False

  return Constraint(test, description, str, allowed, ('(', None, 3))


def numbers(each: Constraint) -> Constraint:
  """A tuple of one or more values of a constraint."""

  def test(value: Any) -> bool:
    return isinstance(value, tuple) and len(value) > 0 and all(map(each.test, value))

  return Constraint(
    test,
    f'a tuple, each {each.description}',
    tuple,
    (*((value,) for value in each.allowed), each.allowed),
    ((), each.allowed[0], None, *((each.allowed[0], value) for value in each.refused)),
  )


ANY_NUMBER = number('a number', lambda value: True, (0, -1, 0.5))
POSITIVE = number('a number above 0', lambda value: value > 0, (1e-9, 1), (0, -1e-6))
NOT_NEGATIVE = number('a number not below 0', lambda value: value >= 0, (0, 0.2, 10), (-0.1,))
BELOW_ONE = number('a number in [0, 1)', lambda value: 0 <= value < 1, (0, 0.999), (-0.1, 1, 1.0))
UP_TO_ONE = number(
  'a number above 0 up to 1', lambda value: 0 < value <= 1, (1e-9, 0.25, 1), (0, -0.1, 1.01)
)
BOOLEAN = Constraint(
  lambda value: isinstance(value, bool), 'True or False', bool, (True, False), (0, 1, 'True', None)
)
TEXT = Constraint(
  lambda value: isinstance(value, str), 'text', str, ('', 'a word'), (3, 0.1, None, ('a',))
)
WORDS = Constraint(
  lambda value: isinstance(value, tuple) and all(isinstance(word, str) for word in value),
  'a tuple of words',
  tuple,
  ((), ('a', 'b c')),
  ('word', (1,), None, ('a', None)),
)
