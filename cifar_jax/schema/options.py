"""An option, declared once: in a table of plain ones, or as a field of what takes it.

A thing that is chosen by name is a frozen dataclass whose fields are its options:

  @optimizer('adamw')
  class AdamW(Optimizer):
    beta1: float = option(0.9, BELOW_ONE)('Decay of the first moment per step.')
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

from cifar_jax.schema.constraints import Constraint

REQUIRED: Any = object()  # a default: there is no sensible one, the user must set the option


@dataclasses.dataclass(frozen=True)
class Option:
  """What is known of an option.

  Attributes:
    name: Its key, sections included, as in 'data.folder.workers'; a field's is its last part.
    default: Its value where none is given; `REQUIRED` if one must be. None, which a field alone
      may have, is no value: what happens then, the documentation says.
    constraint: What a value must be.
    doc: What it does, in a sentence.
    unit: Of what a number counts, as in 'epochs'.
    resumable: Whether it may change when a run is resumed: it alters no update already made.
    neutral: Whether runs that differ in it are runs of the same system: it does not change the
      arithmetic of an update.
    since: The format of config.json since which it is there under this name.
  """

  name: str
  default: Any
  constraint: Constraint
  doc: str
  unit: str = ''
  resumable: bool = False
  neutral: bool = False
  since: int = 1


def declare(
  name: str, default: Any, constraint: Constraint, unit: str = '', **rules: Any
) -> Callable[[str], Option]:
  """Returns sentence -> plain option; the arguments are those of `Option`."""
  return lambda doc: Option(name, default, constraint, doc, unit, **rules)


# It alters no update already made.
resumable = functools.partial(declare, resumable=True)
# Nor the arithmetic of any.
free = functools.partial(declare, resumable=True, neutral=True)


def option(
  default: Any, constraint: Constraint, unit: str = '', since: int = 1
) -> Callable[[str], Any]:
  """Returns sentence -> field of a dataclass; the arguments are those of `Option`."""

  def of_sentence(doc: str) -> Any:
    metadata = {'option': Option('', default, constraint, doc, unit, since=since)}
    if default is REQUIRED:
      return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)

  return of_sentence


def shared_option(constraint: Constraint, doc: str, unit: str = '') -> Callable[[Any], Any]:
  """Returns default -> field, for an option that several dataclasses have."""
  return lambda default: option(default, constraint, unit)(doc)


def options_of(cls: type) -> dict[str, Option]:
  """Name -> option of each field that is one, those that all of a kind share at the end."""
  kind = [base for base in cls.__mro__ if dataclasses.is_dataclass(base)][-1]
  shared = {field.name for field in dataclasses.fields(kind) if 'option' in field.metadata}
  return {
    field.name: dataclasses.replace(field.metadata['option'], name=field.name)
    for field in sorted(dataclasses.fields(cls), key=lambda field: field.name in shared)
    if 'option' in field.metadata
  }
