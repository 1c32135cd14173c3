"""What options of several families may be; a mistake in one is found when the network is made."""

import dataclasses

import flax.linen as nn

from cifar_jax.schema.constraints import POSITIVE, Constraint, integer
from cifar_jax.schema.options import options_of
from cifar_jax.utils.errors import UserError

POSITIVE_INT = dataclasses.replace(integer(1), description='a whole number of 1 or more')
FACTOR = dataclasses.replace(POSITIVE, description='a factor above 0, such as 0.5')
WIDTHS = Constraint(
  lambda value: isinstance(value, tuple | list) and len(value) > 0,
  'a tuple such as (64,128)',
  tuple,
  ((1,), (64, 128)),
  ((), 64, None),
  each=POSITIVE_INT,
)
# Read by the network itself, whose errors say more.
INTS = Constraint(lambda value: True, 'a tuple such as (64,128)', tuple, ((64, 128),), ())
SPECS = Constraint(
  lambda value: True, "a tuple such as ('conv3','max_pool')", tuple, (('flatten',),), ()
)


def check_options(module: nn.Module) -> None:
  """Raises UserError, naming the flag, unless each option of a network is what it must be."""
  for name, option in options_of(type(module)).items():
    option.constraint.check(f'model.{name}', getattr(module, name))


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
  POSITIVE_INT.check('model.depth', depth)
  count, rest = divmod(depth - fixed, layers_of_all)
  if rest or count < 1:
    raise UserError(
      f'--config.model.depth={depth} is not {layers_of_all} n + {fixed}; use one such as {advice}'
    )
  return count
