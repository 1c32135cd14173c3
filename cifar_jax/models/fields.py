"""What networks by name have in common, and what options of several families may be."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from cifar_jax.layers import activation_function
from cifar_jax.schema.constraints import BELOW_ONE, POSITIVE, Constraint, integer
from cifar_jax.schema.options import options_of, shared_option
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
drop_path_rate = shared_option(
  BELOW_ONE, 'Rate of stochastic depth of the last block; rates rise linearly to it from 0.'
)


class Network(nn.Module):
  """A network whose options are checked when it is made.

  It maps `images` to logits, both float32. With `train`, dropout drops (rng stream 'dropout') and
  BatchNorm uses the statistics of the batch, of the rows that a `mask` leaves in.

  Attributes:
    num_classes: Number of logits.
    dtype: Dtype of the computation; parameters, BatchNorm's statistics and logits are float32.
  """

  num_classes: int
  dtype: Any = dataclasses.field(default=jnp.float32, kw_only=True)

  def __post_init__(self) -> None:
    """Raises UserError, naming the flag, unless each option is what it must be."""
    for name, option in options_of(type(self)).items():
      option.constraint.check(f'model.{name}', getattr(self, name))
    self.check()
    super().__post_init__()

  def check(self) -> None:
    """Raises UserError, naming the flag, where options do not go together."""


def check_activation(name: str, field: str = 'activation') -> None:
  """Raises UserError, naming the flag, unless there is such an activation."""
  try:
    activation_function(name)
  except UserError as error:
    raise UserError(f'--config.model.{field}: {error}') from None


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
