"""The Muon rule of airbench94_muon."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from cifar_jax.optim import fields
from cifar_jax.optim.optimizers import Optimizer, optimizer
from cifar_jax.schema.constraints import Constraint, integer, is_number
from cifar_jax.schema.options import option
from cifar_jax.utils.array_types import Matrix
from cifar_jax.utils.errors import UserError

# Newton-Schulz iteration X <- a X + b (X X') X + c (X X')^2 X; these coefficients drive singular
# values fast to somewhere near 1 instead of slowly to exactly 1.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 3

_THREE = Constraint(
  lambda value: isinstance(value, tuple) and len(value) == 3 and all(map(is_number, value)),
  'a tuple of three numbers',
  tuple,
  ((3.4576, -4.7391, 2.0843), (2, -1.5, 0.5)),
  ((), (1.0, 2.0), (1.0, 2.0, '3'), 3.0, None),
)


class AirbenchMuonState(NamedTuple):
  """Updates made, and the velocities."""

  updates_made: jax.Array
  velocity: optax.Updates


def orthogonalize(
  matrix: Matrix, coefficients: tuple[float, float, float] = COEFFICIENTS
) -> Matrix:
  """The matrix with its singular values moved near 1, by products of bfloat16 matrices."""
  a, b, c = coefficients
  tall = matrix.shape[0] > matrix.shape[1]
  x = matrix / (jnp.linalg.norm(matrix) + 1e-7)
  x = x.T if tall else x
  for _ in range(_ITERATIONS):
    square = _product(x, x.T)
    x = a * x + _product(b * square + c * _product(square, square), x)
  return x.T if tall else x


def _product(left: jax.Array, right: jax.Array) -> jax.Array:
  left, right = left.astype(jnp.bfloat16), right.astype(jnp.bfloat16)
  return jnp.matmul(left, right, preferred_element_type=jnp.float32)


@optimizer('airbench_muon')
class AirbenchMuon(Optimizer):
  """Muon (Jordan, 2024) only for kernels of convolutions, as in airbench94_muon.

  v <- momentum v + g ; p <- (p sqrt(F) / |p| - lr O(g + momentum v)) (1 - lr weight_decay), where
  the kernel p has F filters and O orthogonalizes the matrix [F, the rest]; O(v) without nesterov.
  The size of a step does not depend on that of the gradient, and kernels keep their norm.
  `optax.contrib.muon` scales steps differently, uses five iterations and does not restore norms.
  """

  learning_rate: float = fields.learning_rate(0.24)
  momentum: float = fields.momentum(0.6)
  nesterov: bool = fields.nesterov(True)
  weight_decay: float = fields.weight_decay(0.0)
  coefficients: tuple[float, float, float] = option(COEFFICIENTS, _THREE, since=2)(
    'The coefficients of X, (X X^T) X and (X X^T)^2 X in each iteration of O.'
  )
  renormalize_every: int = option(1, integer(1), 'steps', since=2)(
    'How often kernels are scaled back to the norm sqrt(F), which drifts in between.'
  )

  def build(self, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Builds the chain of this rule, as `Optimizer.build` describes.

    Returns:
      A transformation of trees whose arrays are of rank 2 or more, the filters last. Its `init`
      raises UserError for others.
    """
    return airbench_muon(
      *(schedule, self.momentum, self.nesterov),
      *(self.weight_decay, self.coefficients, self.renormalize_every),
    )


def airbench_muon(
  schedule: optax.Schedule,
  momentum: float,
  nesterov: bool,
  weight_decay: float = 0.0,
  coefficients: tuple[float, float, float] = COEFFICIENTS,
  renormalize_every: int = 1,
) -> optax.GradientTransformation:
  """The transformation of `AirbenchMuon`."""

  def init(params: optax.Params) -> AirbenchMuonState:
    if any(param.ndim < 2 for param in jax.tree.leaves(params)):
      raise UserError(
        "the optimizer 'airbench_muon' updates kernels, not biases; give it to a group of "
        '--config.optimizer.groups whose pattern matches kernels only'
      )
    return AirbenchMuonState(jnp.zeros([], jnp.int32), optax.tree.zeros_like(params))

  def update(
    gradients: optax.Updates, state: AirbenchMuonState, params: optax.Params | None = None
  ) -> tuple[optax.Updates, AirbenchMuonState]:
    velocity = jax.tree.map(lambda v, g: momentum * v + g, state.velocity, gradients)
    directions = velocity
    if nesterov:
      directions = jax.tree.map(lambda v, g: g + momentum * v, velocity, gradients)
    rate = schedule(state.updates_made)

    due = (state.updates_made + 1) % renormalize_every == 0

    def step(direction: jax.Array, param: jax.Array) -> jax.Array:
      filters = param.shape[-1]
      factor = filters**0.5 / jnp.linalg.norm(param.ravel())
      start = param * (factor if renormalize_every == 1 else jnp.where(due, factor, 1))
      matrix = direction.reshape(-1, filters).T
      end = start - rate * orthogonalize(matrix, coefficients).T.reshape(param.shape)
      decayed = end if fields.is_zero(weight_decay) else end * (1 - rate * weight_decay)
      return decayed - param

    updates = jax.tree.map(step, directions, params)
    return updates, AirbenchMuonState(optax.safe_increment(state.updates_made), velocity)

  return optax.GradientTransformation(init, update)
