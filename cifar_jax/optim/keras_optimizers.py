"""The optimizers of Keras 1.2 to 2.1.2, which the articles used, exactly.

Their `decay` argument is the schedule 'time_decay'.
"""

import math

import jax
import jax.numpy as jnp
import optax

from cifar_jax.optim import fields
from cifar_jax.optim.optax_optimizers import AdamLike, RMSprop, momentum_trace
from cifar_jax.optim.optimizers import Optimizer, optimizer
from cifar_jax.utils.array_types import Scalar, Step


@optimizer('keras_sgd')
class KerasSGD(Optimizer):
  """v <- momentum v - lr g ; p <- p + v, with nesterov p <- p + momentum v - lr g.

  The rate is inside the velocity.
  """

  learning_rate: float = fields.learning_rate(0.01)
  momentum: float = fields.momentum(0.0)
  nesterov: bool = fields.nesterov(False)

  def build(self, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Builds the chain of this rule, as `Optimizer.build` describes."""
    return optax.chain(
      optax.scale_by_learning_rate(schedule), momentum_trace(self.momentum, self.nesterov)
    )


@optimizer('keras_rmsprop')
class KerasRMSprop(RMSprop):
  """a <- rho a + (1 - rho) g^2, from 0 ; p <- p - lr g / (sqrt(a) + epsilon)."""

  def build(self, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Builds the chain of this rule, as `Optimizer.build` describes."""
    return optax.chain(
      optax.scale_by_rms(self.rho, self.epsilon, initial_scale=0.0, eps_in_sqrt=False),
      optax.scale_by_learning_rate(schedule),
    )


@optimizer('keras_adam')
class KerasAdam(AdamLike):
  """Adam with "epsilon hat" of Kingma and Ba: epsilon is added to the uncorrected root.

  m <- beta1 m + (1 - beta1) g ; v <- beta2 v + (1 - beta2) g^2 ;
  p <- p - lr sqrt(1 - beta2^T) / (1 - beta1^T) m / (sqrt(v) + epsilon).
  """

  def build(self, schedule: optax.Schedule) -> optax.GradientTransformation:
    """Builds the chain of this rule, as `Optimizer.build` describes."""
    return optax.chain(
      scale_by_keras_adam(self.beta1, self.beta2, self.epsilon),
      optax.scale_by_learning_rate(schedule),
    )


def one_minus_power(base: float, exponent: Step) -> Scalar:
  """1 - base**exponent without cancellation, for a bias correction.

  Args:
    base: A decay rate in [0, 1).
    exponent: The number of terms in the moving average, at least 1.

  Returns:
    The difference with a relative error within 4e-7; that of a plain 1 - 0.999**1 is 1e-5.
  """
  log_base = math.log(base) if base > 0 else -math.inf
  return -jnp.expm1(exponent * log_base)


def scale_by_keras_adam(beta1: float, beta2: float, epsilon: float) -> optax.GradientTransformation:
  """The direction of keras_adam: both moments uncorrected, one correction of the whole step.

  The state is that of `optax.scale_by_adam`.
  """

  def init(params: optax.Params) -> optax.ScaleByAdamState:
    return optax.ScaleByAdamState(
      count=jnp.zeros([], jnp.int32),
      mu=optax.tree.zeros_like(params),
      nu=optax.tree.zeros_like(params),
    )

  def update(
    gradients: optax.Updates, state: optax.ScaleByAdamState, params: optax.Params | None = None
  ) -> tuple[optax.Updates, optax.ScaleByAdamState]:
    del params
    count = optax.safe_increment(state.count)
    mu = optax.tree.update_moment(gradients, state.mu, beta1, 1)
    nu = optax.tree.update_moment(gradients, state.nu, beta2, 2)
    correction = jnp.sqrt(one_minus_power(beta2, count)) / one_minus_power(beta1, count)
    direction = jax.tree.map(lambda m, v: correction * m / (jnp.sqrt(v) + epsilon), mu, nu)
    return direction, optax.ScaleByAdamState(count, mu, nu)

  return optax.GradientTransformation(init, update)
