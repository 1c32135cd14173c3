"""The arrays of checkpoints that older versions saved, under the names that they have now.

A checkpoint keeps the number of its format among its facts; without one it is of format 1. Names
are paths in the state, such as 'params/Conv_0/kernel'.
"""

from collections.abc import Callable, Mapping
from typing import Any

Arrays = Mapping[str, Any]  # by path: arrays, or anything that stands for them


def _to_format_2(arrays: Arrays) -> dict[str, Any]:
  """`slow` became `averaged`; `rate_factor`, for runs with a plateau, a hyperparameter of the
  optimizer, whose own state was moved below `inner_state`.
  """
  plateau = 'rate_factor' in arrays

  def renamed(path: str) -> str:
    collection, _, rest = path.partition('/')
    if collection == 'slow':
      return f'averaged/{rest}'
    if path == 'rate_factor':
      return 'opt_state/hyperparams/lr_scale'
    return f'opt_state/inner_state/{rest}' if plateau and collection == 'opt_state' else path

  found = {renamed(path): array for path, array in arrays.items()}
  return {**found, 'opt_state/count': arrays['step'].copy()} if plateau else found


_STEPS: tuple[Callable[[Arrays], dict[str, Any]], ...] = (_to_format_2,)  # from format 1 on


def migrated(arrays: Arrays, format_number: int) -> dict[str, Any]:
  """The arrays of a state of some format, by their paths in a state of today's."""
  found = dict(arrays)
  for step in _STEPS[format_number - 1 :]:
    found = step(found)
  return found
