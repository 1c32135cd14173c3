"""Checks that the families share: a mistake in a field is found when the network is made."""

from collections.abc import Iterable, Sequence

from cifar_jax.schema.constraints import is_number
from cifar_jax.utils.errors import UserError


def require_positive_int(**fields: int) -> None:
  """Raises UserError unless each field is a whole number of 1 or more."""
  for name, value in fields.items():
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
      raise UserError(f'--config.model.{name} must be a whole number of 1 or more, not {value!r}')


def require_widths(widths: Sequence[int], name: str = 'widths') -> None:
  """Raises UserError unless the field is a tuple of whole numbers of 1 or more, at least one."""
  if not isinstance(widths, (tuple, list)) or not widths:
    raise UserError(f'--config.model.{name} must be a tuple such as (64,128), not {widths!r}')
  for width in widths:
    require_positive_int(**{name: width})


def require_fractions(**fields: float) -> None:
  """Raises UserError unless each field is a number in [0, 1)."""
  for name, value in fields.items():
    if not is_number(value) or not 0 <= value < 1:
      raise UserError(f'--config.model.{name} must be a number in [0, 1), not {value!r}')


def require_factor(**fields: float) -> None:
  """Raises UserError unless each field is a number above 0."""
  for name, value in fields.items():
    if not is_number(value) or value <= 0:
      raise UserError(f'--config.model.{name} must be a factor above 0, such as 0.5, not {value!r}')


def require_choice(name: str, value: object, choices: Iterable[object]) -> None:
  """Raises UserError unless the field is one of the choices."""
  choices = tuple(choices)
  if value not in choices:
    words = ' or '.join(repr(choice) for choice in choices)
    raise UserError(f'--config.model.{name} must be {words}, not {value!r}')


def blocks_per_stage(depth: int, fixed: int, layers_of_all: int, advice: str) -> int:
  """Returns n of a depth of n * layers_of_all + fixed.

  Args:
    depth: Layers with a kernel.
    fixed: Those of them outside of the blocks.
    layers_of_all: Those of one block in each stage together.
    advice: Examples of depths, for the message.

  Raises:
    UserError: No whole n of 1 or more gives the depth.
  """
  require_positive_int(depth=depth)
  count, rest = divmod(depth - fixed, layers_of_all)
  if rest or count < 1:
    raise UserError(
      f'--config.model.depth={depth} is not {layers_of_all} n + {fixed}; use one such as {advice}'
    )
  return count
