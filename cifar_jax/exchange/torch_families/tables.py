"""Tables of names: a list of (pattern, function).

A name that a pattern matches whole becomes what the function makes of its groups.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Tensors = Mapping[str, np.ndarray]
Table = Sequence[tuple[str, Callable[..., str]]]
# (network, tensors) -> the tensors under our names; those that belong nowhere keep theirs.
Rename = Callable[[Any, Tensors], dict[str, np.ndarray]]


def by_table(tensors: Tensors, table: Table) -> dict[str, np.ndarray]:
  """The tensors under the names that a table makes of theirs; others keep theirs."""
  return {_renamed(name, table): array for name, array in tensors.items()}


def _renamed(name: str, table: Table) -> str:
  for pattern, make in table:
    if match := re.fullmatch(pattern, name):
      return make(*match.groups())
  return name
