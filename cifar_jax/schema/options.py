"""An option, declared once: in a table of plain ones, or as a field of what takes it.

A thing that is chosen by name is a frozen dataclass whose fields are its options:

  @optimizer('adamw')
  @dataclasses.dataclass(frozen=True, kw_only=True)
  class AdamW(Optimizer):
    beta1: float = option(0.9, BELOW_ONE, 'Decay of the first moment per step.')
"""

import dataclasses
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


def option(default: Any, constraint: Constraint, doc: str, unit: str = '', since: int = 1) -> Any:
  """A field of a dataclass that is an option; the arguments are those of `Option`."""
  known = Option('', default, constraint, doc, unit, since=since)
  if default is REQUIRED:
    return dataclasses.field(metadata={'option': known})
  return dataclasses.field(default=default, metadata={'option': known})


def options_of(cls: type) -> dict[str, Option]:
  """Name -> option of each field that is one, those that all of a kind share at the end."""
  fields = dataclasses.fields(cls)
  shared = {
    field.name
    for base in cls.__mro__[1:]
    if dataclasses.is_dataclass(base)
    for field in dataclasses.fields(base)
    if 'option' in field.metadata
  }
  return {
    field.name: dataclasses.replace(field.metadata['option'], name=field.name)
    for field in sorted(fields, key=lambda field: field.name in shared)
    if 'option' in field.metadata
  }
